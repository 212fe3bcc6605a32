"""The quiz of lesson 06."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "Token 3 earned a reward. Why may it be left out of token 7's weight?",
        (
            Choice(
                "Because it is small beside the rewards to come.",
                False,
                "Its size does not matter: a large past averages to zero as well as a small one.",
            ),
            Choice(
                "Because token 7's score averages to zero after every prefix, and the prefix has decided that reward.",
                True,
                "Given the prefix, the past reward is a constant factor, and a constant times a score averages to "
                "zero.",
            ),
            Choice(
                "Because the two tokens are independent.",
                False,
                "They need not be: token 7 may well be chosen in the light of token 3. What is needed is that the "
                "reward is known before token 7 is drawn.",
            ),
        ),
    ),
    Question(
        "Does dropping the past always lower the variance?",
        (
            Choice(
                "No: where past and future tend to have opposite signs, the two cancel, and keeping the past is "
                "quieter.",
                True,
                "Random advances that are taken back later do this: a large past means a small future. Good advances, "
                "taken back as well, do not: after them nothing predictable is left to be paid back.",
            ),
            Choice(
                "Yes: it removes noise and leaves the mean alone.",
                False,
                "It removes a term of mean zero. If that term cancels other noise, the noise grows.",
            ),
            Choice(
                "Yes, if γ is 1.",
                False,
                "The example of the lesson with random hints that are taken back has γ = 1, and the variance grows.",
            ),
        ),
    ),
    Question(
        "Your code weights token t with the discounted reward-to-go, γ = 0.9, and no factor in front. Which "
        "objective's gradient is that, on average?",
        (
            Choice(
                "The discounted objective's.",
                False,
                "That one has γ^t in front of token t: a reward counts γ^k, seen from the start.",
            ),
            Choice(
                "The undiscounted objective's.",
                False,
                "That one does not discount what is to come. In the lesson's worlds the direction is near it, but not "
                "the same.",
            ),
            Choice(
                "In general no objective's at all.",
                True,
                "Its matrix of derivatives is in general not symmetric, so it is no gradient (Nota and Thomas 2020). "
                "It is a direction that often works.",
            ),
        ),
    ),
    Question(
        "A language model's answer is scored once, by its last token, and ends after at most 500 tokens. Which γ?",
        (
            Choice(
                "0.99, as in control tasks.",
                False,
                "The first of 500 tokens would hear 0.99 to the 499, less than 1 %, of the reward, and long answers "
                "would pay less.",
            ),
            Choice(
                "1: the sequence ends, and a late reward is worth as much as an early one.",
                True,
                "The sum is finite without a discount. If answers should be short, say so in the reward.",
            ),
            Choice(
                "It does not matter with a single reward.",
                False,
                "With γ below 1 an answer that arrives sooner pays more: the best answer can become another one.",
            ),
        ),
    ),
    Question(
        "To have a denser signal, somebody gives R/T to each of T tokens and uses reward-to-go. What happens?",
        (
            Choice(
                "Token t, counted from 0, hears (T − t)/T of R: the gradient is biased.",
                True,
                "A share paid early still depends on tokens that come later, so it must not be dropped as their past.",
            ),
            Choice(
                "Nothing on average: the total is the same.",
                False,
                "It would be so with the whole return. Reward-to-go drops shares that later tokens have earned.",
            ),
            Choice(
                "The variance falls, the mean stays.",
                False,
                "Weights become smaller, which makes the variance smaller, and the mean with it, more for late tokens.",
            ),
        ),
    ),
    Question(
        "You subtract the exact value V(prefix) from each token's weight: from the whole return the value of the whole "
        "return, from reward-to-go the value of what is to come. Which of the two estimates is quieter?",
        (
            Choice(
                "The one with reward-to-go: it has no past in it.",
                False,
                "Nor has the other: what has been paid is part of the whole return's value, and goes when that is "
                "subtracted.",
            ),
            Choice(
                "The one with the whole return.",
                False,
                "The past is in the return and in its value, and cancels.",
            ),
            Choice(
                "Neither: they are the same number in every sample.",
                True,
                "The whole return's value is what has been paid plus the value of what is to come. The past cancels.",
            ),
        ),
    ),
)
