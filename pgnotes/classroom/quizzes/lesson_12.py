"""The quiz of lesson 12."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "TODO: A pays 0.2 and B pays 1. Where is the slope of the expected reward largest?",
        (
            Choice("Where B is certain.", False, "There is nothing left to gain there: the slope is all but 0."),
            Choice("Where both are equally likely.", True, "The slope is π(A) π(B) times 0.8, largest at ½ each."),
            Choice("Where A is certain.", False, "B is hardly ever tried there: the slope is all but 0."),
        ),
    ),
    Question(
        "TODO: B pays as much as A. What is the slope?",
        (
            Choice("0, at every logit.", True, "Whatever is pressed, the reward is the same, and so is its average."),
            Choice("0, but only at logit 0.", False, "The expected reward is the same at every logit: a flat line."),
            Choice("0.2, what both pay.", False, "That is the expected reward itself, not its slope."),
        ),
    ),
    Question(
        "TODO: 1 is added to both rewards. What happens to the exact gradient?",
        (
            Choice("It grows.", False, "The expected reward grows by 1 at every logit, and its slope stays as it is."),
            Choice("It changes its sign.", False, "The better button is still the better one."),
            Choice("Nothing.", True, "A constant moves the whole curve up, and a curve moved up has the same slope."),
        ),
    ),
    Question(
        "TODO: what does the score of an action average to, under the policy?",
        (
            Choice("To the gradient.", False, "Reward times score does; the score alone knows no reward."),
            Choice("To 0.", True, "One-hot averages to π, and π is what is subtracted."),
            Choice("To 1.", False, "Its entries even add up to 0: what one logit gains, the others lose."),
        ),
    ),
)
