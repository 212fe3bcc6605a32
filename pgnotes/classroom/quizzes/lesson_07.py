"""The quiz of lesson 07."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "An action has advantage +1 and ratio 0.5, with ε = 0.2. What is the slope of PPO's objective in the ratio?",
        (
            Choice(
                "0, as 0.5 is outside the band.",
                False,
                "It is outside on the side that the advantage does not ask for. The min takes the unclipped product "
                "there.",
            ),
            Choice(
                "1: it is pulled back up.",
                True,
                "For a positive advantage only the upper side is flat. From below, the full slope leads back.",
            ),
            Choice(
                "−1: it is pushed further down.",
                False,
                "A positive advantage never pushes a ratio down. The slope is A or 0.",
            ),
        ),
    ),
    Question(
        "Sequences of 1000 tokens, and every token's ratio is 0.91 or 1.09. What do the sequences' importance weights "
        "look like?",
        (
            Choice(
                "All near 1, as every ratio is near 1.",
                False,
                "A thousand factors near 1 multiply to something that need not be. The mean is 1; the median is 0.017.",
            ),
            Choice(
                "Too large on average, so the estimate is biased.",
                False,
                "Their mean is exactly 1, at any length, and the estimate is unbiased. It is the spread that grows.",
            ),
            Choice(
                "Most are nearly 0, a few are huge, and their mean is 1.",
                True,
                "So an average over a batch rests on a few sequences, or misses the ones that carry the mean.",
            ),
        ),
    ),
    Question(
        "Which of these does the clip guarantee?",
        (
            Choice(
                "That a ratio already beyond the band, on the side its advantage asks for, is not pushed on by its "
                "own term.",
                True,
                "That is all. Steps of other tokens move it, through shared parameters, and a single large step can "
                "jump far over the edge.",
            ),
            Choice(
                "That all ratios stay between 1 − ε and 1 + ε.",
                False,
                "It stops pushing and holds nothing. With a large step and ten epochs you saw most ratios outside.",
            ),
            Choice(
                "That KL(old‖new) stays below ε.",
                False,
                "No such bound follows. Trainers watch KL, and stop the epochs early when it grows too large.",
            ),
        ),
    ),
    Question(
        "You train ten epochs on each batch. What do you save, compared with one epoch on each of ten batches?",
        (
            Choice(
                "Nine tenths of all forward passes.",
                False,
                "The new log-probabilities change with every step, so each epoch needs its own forward pass, and its "
                "backward pass.",
            ),
            Choice(
                "Nothing, since every epoch needs a forward pass.",
                False,
                "That pass is needed, but nine batches need not be sampled and scored, and for long texts sampling is "
                "what costs.",
            ),
            Choice(
                "Nine rounds of sampling and scoring.",
                True,
                "Passes over the same text remain. With text, sampling takes one pass per token, one after the other, "
                "so there is much to save.",
            ),
        ),
    ),
    Question(
        "PPO's loss has been 0.000 at the first epoch of every iteration. Advantages are centred and each sequence's "
        "terms are averaged. What do you conclude?",
        (
            Choice(
                "The policy has stopped learning.",
                False,
                "The value of the loss says nothing of the sort. At ratio 1 the loss is minus the mean advantage, and "
                "that is 0.",
            ),
            Choice(
                "Nothing: it is 0 by construction.",
                True,
                "At ratio 1 with centred advantages it must be. Look at the gradient, at KL, and at the reward.",
            ),
            Choice(
                "The policy has reached its optimum.",
                False,
                "At an optimum it would be 0 as well; so it is at every other policy. The number does not depend on "
                "where you are.",
            ),
            Choice(
                "The clip has silenced every token.",
                False,
                "At ratio 1 no token is clipped, and each has its full gradient.",
            ),
        ),
    ),
)
