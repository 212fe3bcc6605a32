"""The quiz of lesson 04."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "Your gradient estimate from 100 samples has a standard error of 0.4. You need 0.1. How many samples?",
        (
            Choice("400.", False, "The variance falls to a quarter, so the standard error to a half: 0.2."),
            Choice("1600.", True, "Four times more exact costs four squared times the samples."),
            Choice(
                "100 to the fourth power: it grows exponentially.",
                False,
                "It is often said so. The variance is divided by N, so it is linear in 1/variance; the error is its "
                "root, and quadratic.",
            ),
        ),
    ),
    Question(
        "Somebody multiplies all rewards by 100. What happens to the estimate?",
        (
            Choice(
                "Its noise becomes 100 times as large, and the gradient too.",
                True,
                "So the noise relative to the gradient is what it was. But a step is 100 times as long, unless you "
                "divide the step size by 100, or an optimizer such as Adam divides the scale out.",
            ),
            Choice(
                "It becomes 100 times noisier, so the batch must grow.",
                False,
                "In absolute numbers, yes. But the gradient has grown as well, and their ratio is what decides "
                "whether a step goes the right way.",
            ),
            Choice(
                "Nothing: the score does not depend on rewards.",
                False,
                "The estimate is reward times score, so it scales with the reward.",
            ),
        ),
    ),
    Question(
        "Rewards lie between 0 and 1. Somebody adds 10 to all of them. What happens to the estimate?",
        (
            Choice(
                "Nothing: scores average to zero.",
                False,
                "Its mean does not change for that reason. Single estimates do: each gains 10 times a score.",
            ),
            Choice("Its mean moves by 10.", False, "The mean is the gradient, and a constant has no gradient."),
            Choice(
                "Its mean stays, its noise grows.",
                True,
                "Ten times a score is added to each sample: noise without signal. It can be taken away again, which "
                "is lesson 05.",
            ),
        ),
    ),
    Question(
        "A reward comes at each of T independent steps, and you weight every step's score with the whole return. How "
        "does the variance of the first step's estimate grow with T, if rewards are positive?",
        (
            Choice(
                "Not at all: the first step is the same.",
                False,
                "Its gradient is. But the return contains the rewards of all other steps, and they are noise to it.",
            ),
            Choice(
                "About like T squared.",
                True,
                "The others' mean acts as an offset of (T − 1) times the mean reward, and the variance grows with the "
                "offset's square; their own variance adds a part that grows with T.",
            ),
            Choice(
                "Like T: variances add.",
                False,
                "That is true once the mean is subtracted. Without a baseline the mean of the return grows with T, "
                "and its square is in the variance.",
            ),
        ),
    ),
    Question(
        "A text earns 1 if it is the one right answer, else 0, and is right in one of 1,000 samples. How many samples "
        "for an error of 10 % of the gradient's length?",
        (
            Choice("About 100,000, and fewer as it gets better.", True, "100 · (1 − p)/p, which falls as p rises."),
            Choice(
                "About 100,000, and more as it gets better.",
                False,
                "With one right answer the noise dies away with its score: (1 − p)/p. It is where wrong answers cost "
                "something, near misses are paid, or several right answers share the probability, that the need grows "
                "towards the end.",
            ),
            Choice(
                "About 1,000: one that is right will do.",
                False,
                "One right text shows the direction, with an error of 100 %. Ten times more exact takes a hundred "
                "times as many.",
            ),
        ),
    ),
    Question(
        "A batch's estimate has a relative error of 3. Is training with it hopeless?",
        (
            Choice(
                "Yes: the step is mostly noise.",
                False,
                "Each single step is. But the noise of many steps points in all directions, and the gradient always "
                "in its own: with small steps it adds up.",
            ),
            Choice(
                "Only a larger batch can help.",
                False,
                "A smaller step does as well: many small noisy steps average like one large batch. And lessons 05 and "
                "06 lower the noise itself.",
            ),
            Choice(
                "No: small steps average the noise over time.",
                True,
                "Ten steps of a tenth the size are nearly one step with ten times the batch, while the policy has "
                "hardly changed. It costs samples either way.",
            ),
        ),
    ),
)
