"""The quiz of lesson 15."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "A judge turns 40 % of its verdicts at random. What does that cost?",
        (
            Choice(
                "With few pairs much, with endlessly many next to nothing.",
                True,
                "The distance to a draw shrinks to a fifth, so at least 25 times the pairs are needed; the order of "
                "the answers stays.",
            ),
            Choice(
                "40 % of what there is to learn, however many pairs.",
                False,
                "A turned coin moves every probability towards ½, by one factor. What is preferred stays so.",
            ),
            Choice(
                "More than a judge who likes length does, always.",
                False,
                "At 300 pairs usually so; with endlessly many not, at a KL of 2: a taste is learned, and more labels "
                "make it surer.",
            ),
        ),
    ),
    Question(
        "A reward is compared with the mean of all other rewards of the batch, those of harder and easier prompts "
        "included. Then it is also divided by the batch's standard deviation. Which step biases?",
        (
            Choice(
                "The subtraction, because the prompts differ.",
                False,
                "The mean of others does not depend on the answer it is subtracted from. It can be a noisy baseline, "
                "and never biases.",
            ),
            Choice(
                "The division.",
                True,
                "The standard deviation contains the reward itself, and goes with how hard the prompts are: they no "
                "longer count as J counts them.",
            ),
            Choice(
                "Neither, on average.",
                False,
                "Section 4 lists all counts: without the division both gradients keep their length to the last digit, "
                "with it they change by different factors.",
            ),
        ),
    ),
    Question(
        "A policy writes a query, gets a document, writes an answer. Which tokens belong into the loss?",
        (
            Choice(
                "The answer.",
                False,
                "The query decided which document came. Without its part the gradient is not that of J.",
            ),
            Choice(
                "Query and answer.",
                True,
                "The policy wrote both. The document's probability, given the query, has no parameter of it.",
            ),
            Choice(
                "All three, because one model predicts all three.",
                False,
                "The document was not drawn from the policy, so that its score does not average to zero, and with the "
                "reward as its weight the model learns to predict documents that happened to be followed by success.",
            ),
        ),
    ),
    Question(
        "“The idea is refuted if there is a prompt on which the policy with a KL constraint earns less than the one "
        "without”, both measured by the reward that is trained on. What is wrong with this rule?",
        (
            Choice(
                "Nothing: it names what would count as no.",
                False,
                "It names something that comes out for every idea of this kind, good or bad.",
            ),
            Choice(
                "It fires always: a constraint that binds costs something of that reward.",
                True,
                "The most that can be earned within k nats rises with k. A rule that cannot stay silent says nothing. "
                "(By another measure, the truth behind a learned reward, it can stay silent.)",
            ),
            Choice(
                "It never fires.",
                False,
                "The other way round: by that reward, where the constraint binds there is always such a prompt.",
            ),
        ),
    ),
    Question(
        "A perfect judge says after each step how much can be expected from there. You pay each step that value, and "
        "maximise the sum. What may come out?",
        (
            Choice(
                "The optimum of the outcome, only sooner.",
                False,
                "That is what differences do: they add up to R − V(start). A sum of values pays for each further good "
                "step.",
            ),
            Choice(
                "A text that goes on because going on is paid, and that may be wrong in the end.",
                True,
                "In section 7 the sum wrote four symbols where three would do, and from about a third of a hundred "
                "references a wrong text.",
            ),
            Choice(
                "Nothing else than the outcome gives, as the judge makes no errors.",
                False,
                "The values are right. What is added up is not what was asked for.",
            ),
        ),
    ),
)
