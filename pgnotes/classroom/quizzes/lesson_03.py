"""The quiz of lesson 03."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "The reward comes once, after the last token. Which tokens does REINFORCE credit with it?",
        (
            Choice(
                "Only the last one.",
                False,
                "The return from every earlier step contains the final reward as well: reward-to-go is the same at "
                "each of them.",
            ),
            Choice(
                "All of them, equally if γ = 1.",
                True,
                "Every token's score is multiplied by the same return. Which of them deserved it, REINFORCE cannot "
                "tell.",
            ),
            Choice(
                "Each with its share, the reward divided by the length.",
                False,
                "That shortens the steps of long sequences, and points elsewhere as soon as lengths differ: claim C18, "
                "lesson 08.",
            ),
        ),
    ),
    Question(
        "You forget to count the end token in the mask. What can the policy then not learn?",
        (
            Choice(
                "Which token comes first.", False, "The first token's log-probability is in the sum, and is credited."
            ),
            Choice("Anything: the gradient is zero.", False, "All other tokens are still credited."),
            Choice(
                "When to stop.",
                True,
                "Stopping is an action like any other. If its log-probability is not in the sum, no return above 0 "
                "ever raises it, and every number that is paid lowers it.",
            ),
        ),
    ),
    Question(
        "A run with a constant step size ends at 0.83, with a policy that writes one answer 99 % of the time. What is "
        "the matter?",
        (
            Choice(
                "It has committed to a good answer and no longer tries the better one.",
                True,
                "The gradient of what is never sampled is never seen. Here the answer sums to 5 instead of 6, and "
                "pays 5/6.",
            ),
            Choice(
                "The step size is too small; it would get there in time.",
                False,
                "In principle, after a very long time: at 99 % the gradient is all but gone. A larger step from the "
                "start commits sooner, and more often to a wrong answer; a smaller one seldom does, and takes longer.",
            ),
            Choice(
                "A bug: REINFORCE is unbiased, so it must reach the optimum.",
                False,
                "Its steps are right on average, and each one moves the policy that draws the next samples. Luck at "
                "the start is reinforced.",
            ),
        ),
    ),
    Question(
        "You add an entropy bonus c to REINFORCE on a bandit. Where does it end?",
        (
            Choice(
                "At the best arm, later.",
                False,
                "The bonus is part of the objective. At a corner its slope, as a function of the probabilities, is "
                "infinite, and keeps the policy off.",
            ),
            Choice(
                "At the softmax of rewards divided by c.",
                True,
                "That is the exact maximum of J + c·H. A bonus that shrinks to 0 in time gives the best arm back.",
            ),
            Choice("At the uniform policy.", False, "Only for a very large c. The rewards still tilt it."),
        ),
    ),
    Question(
        "The pocket model is paid for short completions, and ends by writing a full stop and nothing else. What has "
        "failed?",
        (
            Choice(
                "REINFORCE: it should have kept the text readable.",
                False,
                "It was asked to, and not paid for it. Readable was not in the reward.",
            ),
            Choice(
                "The value baseline: its loss was too small.",
                False,
                "A good baseline makes the steps less noisy. It does not change what they climb.",
            ),
            Choice(
                "Nothing in the algorithm; the reward asked for this.",
                True,
                "It did what was paid. (Not even perfectly: to write nothing at all would have paid 0 instead of "
                "−1/50. It hardly ever tried that.) Lesson 09 adds what was missing: a test that texts must pass, and "
                "a KL that keeps them near the start.",
            ),
        ),
    ),
)
