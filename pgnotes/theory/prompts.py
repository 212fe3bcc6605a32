"""One baseline for all prompts, or one for each: exactly what one sample says with it (lesson 05)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pgnotes.theory.arguments import check_count, check_real
from pgnotes.theory.estimators import Moments, Outcomes, moments_of


def prompt_means(listed: Outcomes, prompts: int) -> Tensor:
    """J of each prompt, the baseline that a group of completions stands for, [P] (lesson 05).

    listed: the outcomes of a TokenWorld, one prompt's after the other's.  ValueError naming the argument.
    """
    return averages(listed, listed.chances, prompts)


def prompt_optima(listed: Outcomes, prompts: int) -> Tensor:
    """b* of each prompt, E[‖s‖² R | prompt] / E[‖s‖² | prompt], [P] (lesson 05; Greensmith et al. 2004).

    With these numbers the covariance's trace is as small as a number for each prompt can make it, whatever weights the
    prompts share: E[(R - b)² ‖s‖²] is a parabola in each prompt's number.
    """
    return averages(listed, listed.chances * listed.scores.square().sum(1), prompts)


def with_prompt_baselines(listed: Outcomes, baselines: Any) -> Moments:
    """Moments of (R - b(prompt))·s from one completion of a random prompt (lesson 05).

    baselines: [P].  Unbiased whatever they are: a prompt comes before every choice.  ValueError naming the argument.
    """
    table = check_real("baselines", baselines, 1)
    own = listed.returns - table.repeat_interleave(each(listed, len(table), "baselines"))
    return moments_of(listed.chances, own[:, None] * listed.scores)


def averages(listed: Outcomes, weights: Tensor, prompts: int) -> Tensor:
    """The returns of each prompt, averaged with weights [P·N], [P]."""
    size = each(listed, check_count("prompts", prompts), "prompts")
    weights = weights.view(-1, size)
    return (weights * listed.returns.view(-1, size)).sum(1) / weights.sum(1)


def each(listed: Outcomes, prompts: int, name: str) -> int:
    """How many outcomes each prompt has.  ValueError beginning with `name` if they cannot be shared out."""
    if len(listed.chances) % prompts:
        raise ValueError(f"{name} stands for {prompts} prompts; they cannot share {len(listed.chances)} outcomes")
    return len(listed.chances) // prompts
