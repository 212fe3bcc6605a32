"""The quiz of lesson 13."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "You add 5 to the reward model's scores of all answers to one prompt. What changes?",
        (
            Choice(
                "Neither its loss nor the best policy.",
                True,
                "The loss sees differences of two answers to the same prompt, and e^{5/β} stands in the sum Z as well.",
            ),
            Choice(
                "The best policy leaves the reference further on this prompt.",
                False,
                "All answers are multiplied by the same e^{5/β}, and dividing by Z takes it away again.",
            ),
            Choice(
                "The reward model's agreement with the judges.",
                False,
                "Agreement looks at which of two answers to a prompt has the higher score. Both rise by 5.",
            ),
        ),
    ),
    Question(
        "A reward model agrees with the judges in 77.4 % of fresh pairs, another one in 77.0 %. What do you know about "
        "the policies that are optimised on them?",
        (
            Choice(
                "The first will be the better one.",
                False,
                "In section 2 one with 77.4 % ends at a true return of 0, and one with the same 77.4 % at 1.",
            ),
            Choice(
                "Both will be good, if the best possible is near 78 %.",
                False,
                "The pairs come from the reference. Neither number says anything about answers that it hardly ever "
                "writes, and that is where the optimum may lie.",
            ),
            Choice(
                "Nothing, if they are optimised hard enough.",
                True,
                "The end is decided by the answers that score highest, however rare they are among the pairs.",
            ),
        ),
    ),
    Question(
        "What does β choose?",
        (
            Choice(
                "A point on the reward model's own curve of return by KL.",
                True,
                "Every β gives the policy with the highest score at its KL. Which curve it is, and whether the truth "
                "falls along it, the reward model and the reference decide.",
            ),
            Choice(
                "How much the policy may trust the reward model in each state.",
                False,
                "It is one number for all answers, and knows nothing about where the reward model is wrong.",
            ),
            Choice(
                "Whether the policy hacks the reward.",
                False,
                "It chooses how far to go along the curve. In section 5 the first 1.4 nats help and the rest harms; "
                "which β stops there cannot be seen in the score.",
            ),
        ),
    ),
    Question(
        "Chosen and rejected are swapped in your DPO data. What do you see in the loss?",
        (
            Choice(
                "It rises.",
                False,
                "It falls: the swapped pairs are learned as well as the right ones.",
            ),
            Choice(
                "It stays at log 2 = 0.693.",
                False,
                "This is what a reference that moves along shows: the margin is 0 for ever.",
            ),
            Choice(
                "Nothing that looks wrong.",
                True,
                "In section 9 the two curves never differ by more than 0.003. What the policy writes shows it at once.",
            ),
        ),
    ),
    Question(
        "During DPO log π of the chosen answers falls, while the margin grows. What do you conclude?",
        (
            Choice(
                "Chosen and rejected are swapped.",
                False,
                "It does not follow, and cannot be excluded: with swapped labels the margin of what is *called* chosen "
                "grows as well (A in section 9: −0.4 and −1.7 nats). Right pairs do the same (B: −1.4 and −2.7).",
            ),
            Choice(
                "The loss looks at the difference alone; the probability went elsewhere.",
                True,
                "Both can fall if the two are alike, or if other pairs pull elsewhere. Whether what rose instead is "
                "good, the loss does not say.",
            ),
            Choice(
                "The implementation is wrong: a gradient step on a chosen answer makes it likelier.",
                False,
                "It would, alone. The step also goes down the rejected one, and along all other pairs; where their "
                "scores are alike, this takes the chosen along.",
            ),
        ),
    ),
)
