"""A task that pays what it is told, for tests of what follows from rewards."""

import itertools

from pgnotes.lm.tasks import digits_and_length


class FixedRewards:
    """Row after row of `rewards`, one for each prompt, again and again, whatever is written."""

    def __init__(self, rewards, length=20, digit_sum=5):
        digits = digits_and_length(length, digit_sum, instruction="{length} {digit_sum}: {prompt}")
        self.prompts, self.held_out, self.message, self.measures = (
            digits.prompts,
            digits.held_out,
            digits.message,
            digits.measures,
        )
        self.rows = itertools.cycle(rewards)

    def reward(self, completions, prompts=None, **columns):
        return [float(reward) for reward in next(self.rows)]

    def passed(self, completion, prompt=""):
        return False
