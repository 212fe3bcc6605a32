"""The quiz of lesson 09."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "Ten steps into a run with one update a step, the loss is 0.0003 and does not move. What do you do?",
        (
            Choice(
                "Nothing, as far as the loss goes.",
                True,
                "Its value measures nothing here; its gradient is what trains. Read pass rate, dead groups, KL and "
                "entropy.",
            ),
            Choice(
                "Raise the learning rate: nothing is being learned.",
                False,
                "At ratio 1, with centred advantages and texts of about equal length, the loss is near zero whatever "
                "is being learned. Look at the pass rate.",
            ),
            Choice(
                "Stop: it has converged.",
                False,
                "Ten steps in? With texts of about equal length the loss is near zero at the first step and at the "
                "last, whatever happens in between.",
            ),
        ),
    ),
    Question(
        "One completion in fifty passes. You go from 16 completions a group to 64. What happens to the share of dead "
        "groups?",
        (
            Choice(
                "It stays: the pass rate is the same.",
                False,
                "It depends on both: 0.98^16 = 72 % of groups of 16 have no pass at all, but only 0.98^64 = 27 % of "
                "groups of 64.",
            ),
            Choice(
                "It falls from 72 % to 27 %.",
                True,
                "0.98^16 and 0.98^64. Larger groups find rarer successes; the other way is a reward with partial "
                "credit.",
            ),
            Choice("It falls to a quarter, 18 %.", False, "The share is a power, not a fraction: 0.98^64 = 27 %."),
        ),
    ),
    Question(
        "After training 95 % pass, and of 100 completions 3 differ. Is that a success?",
        (
            Choice(
                "Yes: the rule is about length and digits, not about variety.",
                False,
                "Then three sentences would do, and no model is needed. What the reward does not ask for is given up.",
            ),
            Choice(
                "It can't be told from these numbers.",
                False,
                "It can: 97 of 100 repeat another one. That is why the evaluation prints the number beside the pass "
                "rate.",
            ),
            Choice(
                "No: three memorised sentences pass.",
                True,
                "The reward was maximised and the language lost. A KL term or a stop at an earlier step keeps more "
                "of the variety.",
            ),
        ),
    ),
    Question(
        "On a T4 the log of the first two steps says: skipped, the gradient is not finite. What has happened?",
        (
            Choice(
                "The reward function returned NaN.",
                False,
                "It could not have: rewards that are not finite stop the run with a message.",
            ),
            Choice(
                "The loss scale was too large, and has been halved.",
                True,
                "float16 overflows above 65,504. The scaler starts high, drops the step, halves, and settles within a "
                "few steps.",
            ),
            Choice(
                "The learning rate is too high.",
                False,
                "Not at the first step, where no update has been made yet. If it comes back later, and for many "
                "steps, then perhaps.",
            ),
        ),
    ),
)
