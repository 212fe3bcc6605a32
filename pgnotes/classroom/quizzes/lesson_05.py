"""The quiz of lesson 05."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "You add 100 to every reward and use the policy's mean as the baseline. What happens to the gradient estimate?",
        (
            Choice(
                "Its mean grows a hundredfold.",
                False,
                "A constant added to all rewards adds a multiple of the mean score to the gradient, and that is zero.",
            ),
            Choice(
                "It gets noisier.",
                False,
                "Without a baseline it would, very much. The mean rises by 100 as well, and the difference is what it "
                "was.",
            ),
            Choice(
                "Nothing at all, sample by sample.",
                True,
                "Reward and baseline both rise by 100. A baseline that rises with the rewards makes their zero "
                "irrelevant.",
            ),
        ),
    ),
    Question(
        "A policy takes the better of two actions 90 % of the time. Rewards are 1 and 0. Which baseline leaves the "
        "least variance?",
        (
            Choice(
                "0.1",
                True,
                "The mirror image of the mean, 1 + 0 − 0.9. Both actions then say exactly the same thing, and the "
                "variance is 0.",
            ),
            Choice(
                "0.9, the mean.",
                False,
                "It makes the rare failure, whose score is long, shout: 64 times the variance of no baseline.",
            ),
            Choice(
                "0.5, half way.",
                False,
                "With two actions this is best only for a policy that takes both equally often.",
            ),
        ),
    ),
    Question(
        "You subtract your value network's prediction from the whole return, and it is off by a lot. What is wrong "
        "with your policy gradient?",
        (
            Choice(
                "It is biased by the network's error.",
                False,
                "The error depends on the prefix and not on the symbol chosen there. It multiplies a score that "
                "averages to zero.",
            ),
            Choice(
                "It is noisier than it could be, and right on average.",
                True,
                "Any function of what came before is allowed. Its distance from b*, squared and weighted by the "
                "score's squared length, is the price in variance. (Where the value replaces a part of the return, as "
                "in an actor–critic or GAE, its error does bias.)",
            ),
            Choice(
                "It points the wrong way as soon as the values have the wrong sign.",
                False,
                "Even a baseline of the wrong sign leaves the mean alone.",
            ),
        ),
    ),
    Question(
        "You subtract from each completion's reward the mean reward of completions of the same length. Why is that a "
        "mistake?",
        (
            Choice(
                "There may be only one completion of that length.",
                False,
                "True and a nuisance, but it would be wrong with any number of them.",
            ),
            Choice(
                "Long completions have a larger variance.",
                False,
                "Perhaps; this would make it a matter of efficiency, and it is one of correctness.",
            ),
            Choice(
                "The length is a consequence of the symbols chosen.",
                True,
                "The baseline then knows what the policy did later, above all when it stopped, and takes away the "
                "credit for it: in section 6 the bias was 92 % as long as the gradient.",
            ),
        ),
    ),
    Question(
        "Two baselines leave exactly the same trace at every policy, b* − 0.5 and b* + 0.5. What can you say about "
        "learning with them in the bandit of section 9 (B likely, step size 1)?",
        (
            Choice(
                "It is equally good: same mean, same trace.",
                False,
                "So one would think. In the last widget one of them loses 16 % of the policies, the other 0.6 %.",
            ),
            Choice(
                "The lower one commits sooner, and there more often to a wrong action.",
                True,
                "With the lower one whatever pays is reinforced, B as well; with the higher one B is discouraged, and "
                "the others get their turn. With other numbers it may be the higher one: where A is rare, that one "
                "loses more in the first 300 steps.",
            ),
            Choice("The lower one is biased.", False, "Neither is: both are the same for all actions."),
        ),
    ),
)
