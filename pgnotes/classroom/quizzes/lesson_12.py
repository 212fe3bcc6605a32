"""The quiz of lesson 12."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "You write the same policy with parameters φ, θ = 10 φ, and take a natural step of equal size. What changes?",
        (
            Choice(
                "It goes a hundred times as far.",
                False,
                "A plain step does: the gradient in φ is ten times as large, and θ moves ten times as far as φ. F "
                "carries both factors, and its inverse takes them out.",
            ),
            Choice(
                "Nothing: a linear change of parameters leaves a natural step as it was.",
                True,
                "F and the gradient change together. For a curved one, such as cubes, it holds of tiny steps only.",
            ),
            Choice(
                "Nothing, and the same is true of any change of parameters.",
                False,
                "Of infinitely small steps. Two steps of size 1 led to 23 % in section 1's cubes, and to 18 % in the "
                "logits.",
            ),
        ),
    ),
    Question(
        "The Fisher matrix of the half-trained table has 340 rows and rank 120. What are its zero eigenvalues?",
        (
            Choice(
                "Directions in which the return is flat.",
                False,
                "F knows nothing of rewards. A direction may change the policy and leave the return as it was.",
            ),
            Choice(
                "Directions that leave the policy as it is: a constant on a row, and rows that are never reached.",
                True,
                "85 rows, of which 40 are reached, and in each of these a constant is ignored: 40 · 3 = 120 are left.",
            ),
            Choice(
                "Rounding: with more digits it would have full rank.",
                False,
                "They are exact. A softmax ignores a constant added to its logits, and what follows a stop is never "
                "read.",
            ),
        ),
    ),
    Question(
        "What does TRPO need to know of the Fisher matrix F?",
        (
            Choice("Its inverse.", False, "It needs F⁻¹ times one vector, the gradient, and that only roughly."),
            Choice("Its diagonal.", False, "Adam's second moments are often likened to it; TRPO has no use for it."),
            Choice(
                "What F times a vector is, some ten times an iteration.",
                True,
                "Conjugate gradients ask for nothing else, and a product is a gradient of (∇KL)·v: no entry of F is "
                "ever computed.",
            ),
        ),
    ),
    Question(
        "In an implementation both arguments of the KL carry gradients, KL(θ ‖ θ). What will you see?",
        (
            Choice(
                "An error, or NaN in the first step.",
                False,
                "Neither: F v comes out as 0, and with damping the system is solved at once.",
            ),
            Choice(
                "A policy that does not learn.",
                False,
                "It learns nearly as surely: the direction is the plain gradient's, and the line search keeps the KL "
                "below δ.",
            ),
            Choice(
                "Conjugate gradients that are done after one product, with nothing left over.",
                True,
                "The matrix is damping times the identity. Of 340 directions that would be a miracle.",
            ),
        ),
    ),
    Question(
        "A token has probability 0.0001, and its advantage is positive. Which lets it rise further in one iteration: "
        "a clip of 0.2, or a budget of KL(old ‖ new) ≤ 0.01?",
        (
            Choice(
                "The clip.",
                False,
                "On its own it is silent beyond a ratio of 1.2: 0.00012. The clip asks for ratios, and a rare token's "
                "ratio is quickly large. (Others may push it further, as in section 4's widget.)",
            ),
            Choice(
                "The KL budget: about a hundred times as far.",
                True,
                "Up to 0.0105. KL(old ‖ new) weights by the old policy, under which this token hardly ever comes. For "
                "a token of 0.9 it is the other way round: 0.937 against 1.",
            ),
            Choice(
                "Both the same, if ε and δ are chosen well.",
                False,
                "No choice will do: one measures ratios, the other nats, and they weigh rare and common tokens "
                "differently.",
            ),
        ),
    ),
)
