"""The quiz of lesson 02."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "Why can't you call backward() on the mean reward of sampled actions?",
        (
            Choice(
                "Because rewards may be negative.",
                False,
                "Autograd has no trouble with negative numbers. It needs a path from the parameters to the result.",
            ),
            Choice(
                "Because sampling gives whole numbers, and a whole number does not move a little when a logit does.",
                True,
                "θ decides how often each action comes, not which number it is. The log-derivative trick moves the "
                "derivative to the probability.",
            ),
            Choice(
                "Because the mean is not a scalar.",
                False,
                "It is one. What is missing is the path: the sampled action does not depend on θ in a differentiable "
                "way.",
            ),
        ),
    ),
    Question(
        "Every action pays exactly 3. What is the exact policy gradient, and what is one sample's estimate?",
        (
            Choice(
                "Both are zero.",
                False,
                "The exact one is, but one sample's estimate is 3 times the score of the action that was taken, and "
                "that is not zero.",
            ),
            Choice(
                "Both point to the action taken.",
                False,
                "An exact gradient knows no action taken; it is an average over all of them.",
            ),
            Choice(
                "The exact one is zero; the estimate is 3 times a score, which averages to zero.",
                True,
                "Noise without any signal. Lesson 05 takes the 3 away before it is multiplied.",
            ),
        ),
    ),
    Question(
        "A sequence has three tokens with probabilities 0.3, 0.5 and 0.2. Its log-probability is",
        (
            Choice(
                "ln 0.03 = −3.51", True, "The probabilities multiply to 0.03; the logarithms add: −1.20 − 0.69 − 1.61."
            ),
            Choice(
                "−3.91",
                False,
                "This number is in circulation, but e to the −3.91 is 0.020, and 0.3 · 0.5 · 0.2 = 0.030.",
            ),
            Choice(
                "ln 0.333 = −1.10, the logarithm of the mean",
                False,
                "Tokens of a sequence are all chosen, one after the other: their probabilities multiply.",
            ),
        ),
    ),
    Question(
        "On slippery ice, why does the estimator not need to know how slippery it is?",
        (
            Choice(
                "Because slipping does not change the gradient.",
                False,
                "It does: the exact gradient shrinks to zero as the slip grows to one half.",
            ),
            Choice(
                "Because θ is not in the ice's probabilities: their derivative is zero, and the samples bring their "
                "effect with them.",
                True,
                "The dynamics decide which trajectories are sampled and what they earn. They have no score, because "
                "they have no parameters.",
            ),
            Choice(
                "Because it learns a model of the ice on the way.",
                False,
                "Nothing of the kind is learned: it multiplies returns and scores.",
            ),
        ),
    ),
    Question(
        "During training the surrogate loss rises from 0.9 to 1.4. What do you conclude?",
        (
            Choice(
                "Nothing: look at the return.",
                True,
                "Each step's loss is about other samples. Only its gradient at the moment of sampling has a meaning.",
            ),
            Choice(
                "The step size is too large.",
                False,
                "It may be, but this number does not say so. In the lesson's run the loss rises while the return "
                "rises.",
            ),
            Choice(
                "The policy has become worse.", False, "In the lesson's run it became better during exactly this rise."
            ),
        ),
    ),
)
