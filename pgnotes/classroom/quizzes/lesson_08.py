"""The quiz of lesson 08."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "You replace RLOO by Dr. GRPO, with groups of 4, and change nothing else. What happens to the gradient?",
        (
            Choice(
                "It is biased in another direction, since each completion is now compared with itself.",
                False,
                "The own reward does enter the mean. But every advantage shrinks by the same factor, so no direction "
                "can change.",
            ),
            Choice(
                "It is three quarters as long. With plain steps, a step size 4/3 as large gives the old run back.",
                True,
                "Dr. GRPO's advantages are (G − 1)/G times RLOO's, sample by sample. The noise shrinks with them. "
                "(With a leash, its weight must shrink as well. Adam hardly notices a common factor.)",
            ),
            Choice(
                "It becomes less noisy, at the price of a small bias.",
                False,
                "Noise and signal shrink together. Relative to its mean it is exactly as noisy.",
            ),
        ),
    ),
    Question(
        "The pass rate is 5 % and groups have 8 completions, so that two groups in three are dead. What does this do "
        "to the mean of RLOO's gradient?",
        (
            Choice(
                "It is two thirds shorter than the true gradient.",
                False,
                "That would be so if live groups said what an average group should. They say three times as much: a "
                "success that is rare stands out.",
            ),
            Choice(
                "It turns towards the easy prompts.", False, "RLOO is unbiased for each prompt, so no prompt gains."
            ),
            Choice(
                "Nothing.",
                True,
                "RLOO is unbiased at every pass rate and group size. Dead groups are zeros that belong to the average.",
            ),
        ),
    ),
    Question(
        "Rewards are 0, 0.1 and 1, and the 1 is rare. Dividing by the group's standard deviation turned the direction "
        "by 69 degrees. Why?",
        (
            Choice(
                "Most groups differ by 0.1 only, and the division makes that as loud as a difference of 1.",
                True,
                "Each group speaks at the same volume, whatever is at stake in it. The common groups then outvote the "
                "rare ones that matter.",
            ),
            Choice(
                "The standard deviation contains the own reward, like the mean.",
                False,
                "The own reward in the mean costs a factor and no angle. The angle comes from the division.",
            ),
            Choice(
                "A group of 4 is too small to estimate a standard deviation; with 8 the angle vanishes.",
                False,
                "With 8 it is still 62 degrees. It shrinks when most groups contain a 1, and not because a standard "
                "deviation is better known: 22 degrees at 32, 6 at 64.",
            ),
        ),
    ),
    Question(
        "The first step prints a loss of +0.31. Each rollout is used once, advantages are centred, and the loss is a "
        "mean over all tokens. What does it tell you?",
        (
            Choice(
                "That the policy is worse than the reference.",
                False,
                "At the first step the policy *is* the reference, and the leash adds 0. At ratio 1 the loss is minus "
                "the mean of the advantages over tokens.",
            ),
            Choice(
                "That the step will be large.",
                False,
                "The length of the gradient is not in this number: it can be zero while the gradient is not.",
            ),
            Choice(
                "That the worse completions are longer than the better ones.",
                True,
                "With one vote for each token, long completions weigh more. It measures length, and not progress.",
            ),
        ),
    ),
    Question(
        "Rewards are 1 and 0, the pass rate is 5 %. You have 128 completions a step, in groups of 8, "
        "and double the groups to 16. What do you gain under RLOO, for long texts that are as different "
        "when right as when wrong?",
        (
            Choice(
                "Fewer groups are dead, so about half as much noise.",
                False,
                "Fewer are dead, 44 instead of 66 in a hundred. But 128 completions hold six or seven successes either "
                "way, and they carry the news.",
            ),
            Choice(
                "A little: the same error for 7 % fewer completions, since 15 others make a better baseline than 7.",
                True,
                "Such scores make the price of the guessed baseline G/(G − 1): 1.14 at 8, 1.07 at 16. You also "
                "ask half as many prompts.",
            ),
            Choice(
                "The gradient is less biased.",
                False,
                "RLOO has no bias at any group size.",
            ),
        ),
    ),
)
