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
        "An estimator is unbiased. What does that say about the estimate from the one batch you have?",
        (
            Choice(
                "Nothing by itself: it may be far off. Over all batches that might have been drawn, the average is "
                "right, at this very batch size.",
                True,
                "Section 1 has an unbiased estimate of exactly 0, with a standard error of 0, that is 100 % off.",
            ),
            Choice(
                "It is close, if the batch is large.",
                False,
                "That is consistency. An estimator can have it and be biased: with its own mean subtracted, the "
                "estimate is short by a factor (N − 1)/N, which a large batch hides.",
            ),
            Choice(
                "Its sign is right, its size may be off.",
                False,
                "One batch may point anywhere. Each of its entries can have either sign.",
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
                "It may be, but this number does not say so. In all hundred runs of the lesson that started "
                "undecided the loss rises at first, and the return with it.",
            ),
            Choice(
                "The policy has become worse.",
                False,
                "In a hundred runs of the lesson the policies became better during just such a rise.",
            ),
        ),
    ),
)
