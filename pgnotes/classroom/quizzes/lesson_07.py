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
                "Nine tenths of the passes over finished texts, forward and backward.",
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
        "You train one epoch on each batch, cut into sixteen minibatches with a step on each. Where does the clip act?",
        (
            Choice(
                "Nowhere: with a single epoch every ratio is 1.",
                False,
                "That holds for one step on the whole batch. From the second minibatch on, the policy is no longer the "
                "one that sampled.",
            ),
            Choice(
                "On the first minibatch, where ratios are furthest from 1.",
                False,
                "The first one meets the policy that drew it, so its ratios are all 1.",
            ),
            Choice(
                "On later minibatches: their samples are up to fifteen steps old.",
                True,
                "You saw a fifth of the last part without a gradient. In many runs on language models this is the "
                "only source of ratios.",
            ),
        ),
    ),
    Question(
        "Two trainers train the same model on the same batch. One logs a clip fraction of 0.45, the other of 0.39. "
        "What is likely?",
        (
            Choice(
                "The second one uses a smaller ε.",
                False,
                "A narrower band would put more tokens outside, not fewer.",
            ),
            Choice(
                "The first counts all ratios outside the band, the second those on the silent sides.",
                True,
                "The first is the convention of Stable-Baselines3 and CleanRL, the second of TRL and verl. The "
                "difference are tokens that are being pulled back.",
            ),
            Choice(
                "One of them has a bug: a token outside the band is clipped.",
                False,
                "On two of four sides a token outside keeps its full gradient. Both numbers are of use; they are "
                "different ones.",
            ),
        ),
    ),
)
