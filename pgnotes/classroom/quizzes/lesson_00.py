"""The quiz of lesson 00."""

from pgnotes.classroom.quiz import Choice, Question

QUESTIONS = (
    Question(
        "You train a language model by reinforcement learning. What is its policy?",
        (
            Choice(
                "The completion it writes.",
                False,
                "That is a trajectory: what came out of one episode. The policy is what it was drawn from.",
            ),
            Choice(
                "The rule that scores completions.",
                False,
                "That is the reward. It judges what the policy does, and training does not change it.",
            ),
            Choice(
                "The softmax over the vocabulary, given the prompt and the tokens so far.",
                True,
                "A distribution over actions for each state: π(a | s), with a the next token and s all the text "
                "before it. The weights of the network are θ.",
            ),
        ),
    ),
    Question(
        "The model answers a prompt with 40 tokens. How many actions is that?",
        (
            Choice(
                "40, or 1: it depends on what you call an action.",
                True,
                "Token by token there are 40, with 40 log-probabilities that add up. Seen as a bandit, the whole "
                "completion is one action with that sum as its log-probability.",
            ),
            Choice(
                "40, and no other view is possible.",
                False,
                "The whole completion can be taken as one action of a bandit. Lesson 08 compares completions so.",
            ),
            Choice(
                "As many as the vocabulary has tokens.",
                False,
                "That is how many actions there are to choose from at each step, not how many were taken.",
            ),
        ),
    ),
    Question(
        "In the language model's world, what is random?",
        (
            Choice(
                "The transition: the same token can lead to different states.",
                False,
                "The next state is the old one with the token appended, always. A robot on ice has random "
                "transitions; a text has not.",
            ),
            Choice(
                "Which prompt comes, and which token the policy draws.",
                True,
                "The start distribution and the policy. The transition appends the token, and a rule-based reward "
                "says the same of the same text.",
            ),
            Choice(
                "Nothing, since a network computes it.",
                False,
                "The network computes probabilities. The token is then drawn from them, differently each time.",
            ),
        ),
    ),
    Question(
        "You have a laptop without a GPU. Which part of the course can you not run?",
        (
            Choice(
                "Lessons 07 to 09, which need a language model.",
                False,
                "07 and 08 list every outcome of a small world, and 09 trains the pocket model, which comes with the "
                "package, on a CPU.",
            ),
            Choice(
                "Lesson 09.",
                False,
                "It trains the pocket model in a few minutes on a CPU. Only its full run on the larger model wants a "
                "GPU.",
            ),
            Choice(
                "None of the code: the sliders need a GPU too.",
                False,
                "A slider redraws a picture, in the kernel, on the CPU.",
            ),
            Choice(
                "The full run of lesson 09 on a T4.",
                True,
                "Fine-tuning half a billion weights wants a GPU with about 14 GiB. Everything else runs on two cores.",
            ),
        ),
    ),
    Question(
        "A pays 0.5. You press A most of the time, and earn 0.7 on average. Each button has a logit of its own: what "
        "does the next exact step do to A's?",
        (
            Choice(
                "It pushes it up: A pays something, and what pays is made likelier.",
                False,
                "Pay alone says nothing. It is compared with the average, and 0.5 is less than 0.7.",
            ),
            Choice(
                "It pushes it down.",
                True,
                "The push is A's probability times (0.5 − 0.7), below 0. While you earned 0.3, the same button with "
                "the same pay was pushed up.",
            ),
            Choice(
                "Up or down: that depends on how often A is pressed.",
                False,
                "The probability is a factor above 0. It says how hard the logit is pushed; the sign comes from pay "
                "minus average.",
            ),
        ),
    ),
    Question(
        "Each button has a logit of its own. C pays more than any other, and so more than you earn on average. What is "
        "certain about the next exact step?",
        (
            Choice(
                "C's probability rises.",
                False,
                "In the widget, with A paying 0.9, it falls for 52 steps: A's logit is pushed harder, and a "
                "probability is a share of the whole.",
            ),
            Choice(
                "C's logit rises more than any other's.",
                False,
                "The push is probability times (pay − average). C is furthest above the average, but a button that is "
                "pressed more often can be pushed harder.",
            ),
            Choice(
                "C's logit rises.",
                True,
                "Pay minus average is above 0, and so is the probability. What becomes of C's probability depends on "
                "the other logits too.",
            ),
        ),
    ),
)
