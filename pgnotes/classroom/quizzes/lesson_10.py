"""The quiz of lesson 10."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "A token of probability 0.9 has an advantage of +1, and PPO's clip is 0.2. From the second pass on, when does "
        "the clip silence it?",
        (
            Choice("Never.", True, "Its ratio can't pass 1.11, and the band ends at 1.2. A rare token meets it soon."),
            Choice(
                "As soon as it has moved by 0.2, at probability 1.1.",
                False,
                "No probability is above 1. The band is for the ratio, and the ratio ends at 1/0.9 = 1.11.",
            ),
            Choice(
                "At ratio 1.2, like every token.",
                False,
                "At ratio 1.2 its probability would be 1.08. Likely tokens have no upper band at all.",
            ),
        ),
    ),
    Question(
        "A trainer adds β times k3, token by token, to the loss. Which gradient does it follow on its way to the "
        "reference?",
        (
            Choice(
                "Exactly the gradient of KL(π ‖ ref), because k3 is unbiased.",
                False,
                "The number is unbiased; its derivative is not, since the samples depend on the policy too.",
            ),
            Choice(
                "Something near the gradient of KL(ref ‖ π), averaged over the policy's prefixes.",
                True,
                "For one decision it is exactly that gradient. Summed over tokens, the prefixes are the policy's, and "
                "should be the reference's.",
            ),
            Choice(
                "Nothing: like k1, it has mean gradient zero.",
                False,
                "k1's derivative is the score, whose mean is zero. k3 adds a term whose mean derivative is not.",
            ),
        ),
    ),
    Question(
        "Your sampler's weights are several updates old. You weigh each token by π/μ, truncated. What is left wrong?",
        (
            Choice(
                "Only what the cap cut off.",
                False,
                "In section 4's widget nothing reaches the cap of 2 five updates on, and nearly all of the bias stays.",
            ),
            Choice(
                "Nothing on average: importance weights are unbiased.",
                False,
                "The weight of the whole sequence is. A token's own ratio corrects the token alone.",
            ),
            Choice(
                "How often each prefix is reached, and what follows a token: both are still the old policy's.",
                True,
                "The token's own ratio is one of three factors. The product of all is unbiased, and explodes with "
                "length.",
            ),
        ),
    ),
    Question(
        "Each batch is used once, in one minibatch; the old log-probabilities are meant to be the trainer's own; and "
        "the log says that the clip silences 9 % of the tokens. What is it?",
        (
            Choice("The learning rate is too high.", False, "No update has been made on this batch yet."),
            Choice(
                "The old log-probabilities are not the trainer's own.",
                True,
                "With the trainer's own numbers and one update each ratio is 1, and a clip has nothing to silence.",
            ),
            Choice(
                "Normal: some tokens always lie outside the band.",
                False,
                "At the first update every ratio to the trainer's own old policy is 1, to the last bit or nearly.",
            ),
        ),
    ),
    Question(
        "After training pass@1 has risen from 38 to 45 %, and pass@64 has fallen from 100 to 51 %. How can that be?",
        (
            Choice(
                "What solved some of the requests rarely has been given up for what solves others often.",
                True,
                "One try gains more from 0.9 on half of the requests than from 0.3 on all; 64 tries gain less.",
            ),
            Choice(
                "It can't: who passes more often at one try passes more often at 64.",
                False,
                "For a single request that is so. An average over requests can trade one for another.",
            ),
            Choice(
                "The entropy bonus was too small.",
                False,
                "That end is what climbing pass@1 leads to. A bonus of 0.1 nats would have kept 99 % of pass@64, and "
                "cost 3 points of pass@1: another goal, and a price, as pass@k has one.",
            ),
        ),
    ),
)
