"""The quiz of lesson 11."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "You use GAE with λ = 0.9 on texts. The table is too high by 1 at one prefix, and right everywhere else. Which "
        "choices does it judge wrongly, on average?",
        (
            Choice(
                "Those made at that prefix.",
                False,
                "There the error is subtracted from every choice alike. Scores average to zero, so it is noise and no "
                "bias.",
            ),
            Choice(
                "Those made before it, that lead to it more or less often.",
                True,
                "What leads to it looks better than it is, by 0.1 one step before, 0.09 two steps before, and so on.",
            ),
            Choice(
                "Those made after it.",
                False,
                "What is added up for a choice are TD errors from that choice on. The prefix lies behind it and never "
                "comes again, so that its entry is in none of them.",
            ),
        ),
    ),
    Question(
        "In a token world each prefix has logits of its own, and the critic is exact. Which λ leaves the least bias, "
        "and which the least noise?",
        (
            Choice(
                "No λ has a bias. The least noise has λ = 0.",
                True,
                "With exact values the TD error is the advantage of the symbol, all luck taken out. A larger λ adds "
                "later TD errors, whose mean is 0.",
            ),
            Choice(
                "λ = 1 has the least bias, λ = 0 the least noise.",
                False,
                "λ buys nothing where the table is exact: the bias is 0 at every λ.",
            ),
            Choice(
                "λ = 0.95 is best on both counts.",
                False,
                "It is a number for networks that are somewhat wrong. With exact values a step away from 0 adds noise, "
                "here.",
            ),
        ),
    ),
    Question(
        "All entries of the table are 0, and the reward comes with the last token. What does GAE with λ = 0.95 say "
        "to a token 100 steps before the end?",
        (
            Choice("Nothing: it has no critic.", False, "It hears the reward, times 0.95 to the hundredth."),
            Choice(
                "0.6 % of the reward, as if the discount were 0.95.",
                True,
                "With a table of zeros the TD errors are the rewards, and λ is a discount. What a long text hears it "
                "must hear from the critic.",
            ),
            Choice(
                "The whole reward, as γ = 1.",
                False,
                "That is λ = 1. Below 1 the sum of TD errors fades, and only a good table makes up for it.",
            ),
        ),
    ),
    Question(
        "A trainer bootstraps, after the last token, from the value of the first state. At λ = 1 its mean return is "
        "nearly that of a right one. Why is there no bias?",
        (
            Choice(
                "Because at λ = 1 the table is not used.",
                False,
                "It is: as a baseline, and here as a bonus at the end.",
            ),
            Choice(
                "Because each token's sum then holds the same bonus, V(start), whatever it chose.",
                True,
                "A number that does not depend on the choice leaves the mean as it is. It adds noise, which costs some "
                "runs, and with λ < 1 it becomes a prize for stopping early.",
            ),
            Choice(
                "Because V(start) is small.",
                False,
                "It need not be: the table feeds on itself, and in section 8 it grows past 20 where no return exceeds "
                "1.",
            ),
        ),
    ),
    Question(
        "An episode is cut after 20 steps, because your simulator allows no more. What is the last TD error?",
        (
            Choice(
                "r − V(s): it is over.",
                False,
                "Nothing ended. As if it had, the policy learns that no future beyond the cut is worth waiting for, "
                "and takes risks.",
            ),
            Choice(
                "r + γ V(where it had got to) − V(s).",
                True,
                "The rest of the episode is not seen, but it was to be expected, and the table says how much.",
            ),
            Choice(
                "r + γ V(what the environment shows next) − V(s).",
                False,
                "After an automatic reset that is the first state of another episode: suspect X of section 8.",
            ),
        ),
    ),
    Question(
        "“A group's mean does what the critic did.” Of two sets of credit, (R − J for all tokens) and (the exact TD "
        "errors), the first has the larger sum of squares, on average. By how much, for texts of 50 tokens?",
        (
            Choice(
                "By nothing: both share out the same R − J.",
                False,
                "The TD errors share it out: they add up to R − J once. The group's mean gives all of it to each "
                "token.",
            ),
            Choice("About twice.", False, "That would be so for texts of two tokens."),
            Choice(
                "50 times.",
                True,
                "TD errors are orthogonal, so their squares add up to Var(R). R − J is counted once for each token.",
            ),
        ),
    ),
)
