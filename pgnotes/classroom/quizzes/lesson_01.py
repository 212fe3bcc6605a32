"""The quiz of lesson 01."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "A policy has logits (2, 1, 0). You add 5 to each. What changes?",
        (
            Choice(
                "The likeliest action becomes likelier still.",
                False,
                "Adding the same number multiplies every exp θ by the same factor, and it cancels in the division.",
            ),
            Choice(
                "Nothing.", True, "Only differences between logits matter. K logits describe K − 1 free probabilities."
            ),
            Choice(
                "The entropy rises.",
                False,
                "The distribution is the same, so its entropy is. Dividing the logits would raise it; that is what a "
                "temperature does.",
            ),
        ),
    ),
    Question(
        "Action C has probability 0.1. You take it and its reward is +1. Which entry of the step θ ← θ + α·R·score is "
        "largest in size?",
        (
            Choice(
                "The one of C, 0.9 α.",
                True,
                "1 − π(C) = 0.9, and the others share −0.9 among them in proportion to π. A surprise moves the policy "
                "most.",
            ),
            Choice(
                "The one of the likeliest action.",
                False,
                "It gets −π of its own. The others share 0.9, so each of them has less than that.",
            ),
            Choice(
                "All are equal.",
                False,
                "They add up to 0, but they are not equal: one-hot − π is 1 − π at the action taken and −π elsewhere.",
            ),
        ),
    ),
    Question(
        "An action was taken and its reward was 0. What does this update do to the policy?",
        (
            Choice(
                "It makes the action rarer, because nothing was won.",
                False,
                "The step is reward times score, and the reward is 0. Only with a baseline (lesson 05) does 'nothing "
                "won' become bad news.",
            ),
            Choice(
                "It makes all actions more alike.",
                False,
                "That would be an entropy bonus. The step is reward times score, and the reward is 0.",
            ),
            Choice(
                "Nothing.",
                True,
                "Zero times the score. Which rewards count as good and which as bad is decided by where zero lies.",
            ),
        ),
    ),
    Question(
        "A Gaussian policy has σ = 0.1. Its log-probability of the mean action is +1.38. What went wrong?",
        (
            Choice(
                "A sign: log-probabilities are never above 0.",
                False,
                "Of probabilities, yes. This is the log of a density, and a narrow density is higher than 1.",
            ),
            Choice(
                "Nothing.",
                True,
                "The density at the mean is 1/(σ√(2π)) ≈ 3.99, and log 3.99 ≈ 1.38. Multiplied by a small width it "
                "becomes a probability again.",
            ),
            Choice(
                "σ must be at least 1.", False, "Any σ above 0 is allowed; below 0.4 the density at the mean exceeds 1."
            ),
        ),
    ),
    Question(
        "You divide all logits of a language model by T = 0.5 before you sample. What have you done to the policy?",
        (
            Choice(
                "Nothing: the order of the tokens is the same.",
                False,
                "The order is, the probabilities are not: each is squared, and all are divided by their new sum.",
            ),
            Choice(
                "Made another policy, with lower entropy.",
                True,
                "The samples come from π(a)² / Σ π². Anything computed from them as if they came from π is then off; "
                "lesson 09's loop scores with the temperature it samples with.",
            ),
            Choice("Doubled the learning rate.", False, "No weight has moved. Only what is drawn has changed."),
        ),
    ),
)
