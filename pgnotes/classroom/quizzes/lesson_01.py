"""The quiz of lesson 01."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "A policy always presses the button with the largest logit. Why can't gradient ascent on its logits improve "
        "it?",
        (
            Choice(
                "Its expected reward doesn't depend on the logits.",
                False,
                "It does: when another logit becomes the largest, it jumps. But it does not change a little for a "
                "little, which is all a derivative sees.",
            ),
            Choice(
                "It never presses the best button.",
                False,
                "It may well press the best one. If it doesn't, the slope is 0 all the same and gives no hint.",
            ),
            Choice(
                "Almost everywhere the slope is 0.",
                True,
                "A small step of the logits leaves the largest one the largest, so nothing changes. A policy that "
                "gambles presses each button sometimes, and a little more often after a little step.",
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
                "1 − π(C) = 0.9, and the others share −0.9 among them in proportion to π. The rarer the "
                "action, the larger its own entry.",
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
        "A button, with a logit of its own, pays more than your policy earns on average. What does one small step "
        "along the exact gradient do?",
        (
            Choice(
                "It raises the button's logit.",
                True,
                "The slope is π(k)(r(k) − J), above 0. Its probability mostly follows, and not always: if another "
                "logit rises more, the button becomes rarer for a while.",
            ),
            Choice(
                "It makes the button more frequent.",
                False,
                "Often, but not always: with pays 0.9, 0 and 1 and the policy 60 %, 30 %, 10 %, the best button "
                "becomes rarer at first. What is certain is that its logit rises.",
            ),
            Choice(
                "That depends on which button you happened to press.",
                False,
                "It would, for a sampled step. The exact gradient lists all buttons and is not a matter of luck.",
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
        "Somebody hands you a large file of decisions that another policy made, with their rewards. Who can learn "
        "from it as it stands?",
        (
            Choice(
                "REINFORCE, as in this lesson.",
                False,
                "Reward times score averages to the gradient only over the policy's own actions. Others have to be "
                "reweighted first (lesson 07).",
            ),
            Choice(
                "Q-learning.",
                True,
                "It learns what actions are worth, whoever took them; those that the file never tries stay unknown.",
            ),
            Choice(
                "Both alike.",
                False,
                "A policy gradient needs its own, fresh actions; a value of the action taken doesn't care who took it.",
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
