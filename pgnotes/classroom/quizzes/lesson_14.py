"""The quiz of lesson 14."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "A reward is 1 where a > 0, else 0. You estimate ∂J/∂μ of a Gaussian policy by the path, from a million "
        "actions. What do you get?",
        (
            Choice(
                "Exactly 0.",
                True,
                "The slope is 0 wherever there is one. The estimate has no noise, so that nothing looks wrong, and the "
                "truth is the density at 0.",
            ),
            Choice(
                "An infinite slope now and then, which averages to the right gradient.",
                False,
                "An action at exactly 0 has probability 0, and autograd does not see a jump anyway.",
            ),
            Choice(
                "The right gradient, with more noise than from the score.",
                False,
                "Nearly steep steps do that. At the step itself no action ever meets the jump.",
            ),
        ),
    ),
    Question(
        "A Gaussian policy learns its σ around a peak of the reward, from exact gradients, without a bonus for "
        "entropy. What does σ do?",
        (
            Choice(
                "It settles at about the width of the peak.",
                False,
                "At the peak any spread costs reward, however small it is. A bonus would hold it.",
            ),
            Choice(
                "It shrinks, ever more slowly, and never stops.",
                True,
                "From 1 to 0.108, 0.032 and 0.010 after 100, 1,000 and 10,000 steps in section 3. The noise of sampled "
                "gradients grows meanwhile.",
            ),
            Choice(
                "It stays: exact gradients have no noise that could shrink it.",
                False,
                "Noise is not what shrinks it. The reward's curvature does.",
            ),
        ),
    ),
    Question(
        "Runs become ten times longer; every step is the same decision, paid for itself, and independent of the "
        "others. What happens to the relative noise of the gradient from one run?",
        (
            Choice(
                "It stays.",
                False,
                "The gradient grows with the length, the noise by another law, which depends on what is subtracted.",
            ),
            Choice(
                "It grows.",
                False,
                "It does, where nothing is subtracted: the later rewards' mean shakes every score.",
            ),
            Choice(
                "It falls, if each reward is compared with its step's mean.",
                True,
                "From 2.6 at one step to 0.7 at twenty in section 4: every step is one more sample of the same "
                "decision.",
            ),
        ),
    ),
    Question(
        "A critic explains 99.99 % of the variance of Q. Is it good enough for DDPG?",
        (
            Choice(
                "Yes: its values are off by a hundredth of their spread.",
                False,
                "The actor does not see values. It sees their slope by the action.",
            ),
            Choice(
                "It need not be: a small ripple may put a false summit in the way of nearly every start.",
                True,
                "In section 5 95 % of starts end at one. A policy with a spread would average the ripple away.",
            ),
            Choice(
                "Yes, if the actor's step size is small.",
                False,
                "With small steps the actor stops on the first ripple.",
            ),
        ),
    ),
    Question(
        "A log of SAC, for one action in (−1, 1), says: entropy 1.2 nats. What do you conclude?",
        (
            Choice(
                "The program does not compute the entropy of its actions.",
                True,
                "Above log 2 is impossible. Perhaps the log-determinant is missing, so that it is the Gaussian's.",
            ),
            Choice(
                "σ is large, and most actions lie at the ends.",
                False,
                "Were that so, the true entropy would be below log 2, and negative from σ = 2 on.",
            ),
            Choice(
                "The policy explores well; α could be lower.",
                False,
                "No policy on (−1, 1) has more than log 2 = 0.693 nats.",
            ),
        ),
    ),
    Question(
        "You raise σ of a squashed Gaussian with μ = 0 from 0.87 to 3. Its entropy",
        (
            Choice(
                "tends to log 2, because every action becomes equally likely.",
                False,
                "It is as near as it gets at 0.87. At 3, 62 % of the actions lie in the outer tenth.",
            ),
            Choice(
                "rises by log(3/0.87), as for any Gaussian.",
                False,
                "Before tanh it does. From 0.87 on tanh takes away more than that.",
            ),
            Choice(
                "falls, from 0.68 to −1.10.",
                True,
                "0.87 is the summit. Beyond it the actions pile up at both ends.",
            ),
        ),
    ),
)
