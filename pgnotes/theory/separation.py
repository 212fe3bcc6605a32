"""Does a number tell those that pass from those that fail? The share of pairs that it puts in order (lesson 15)."""

from __future__ import annotations

from typing import Any

from pgnotes.theory.arguments import check_booleans, check_real


def auc(values: Any, positive: Any) -> tuple[float, float]:
    """How often one of the positives has the higher value than one of the others, ties half; and its standard error.

    ½ is what a number gives that knows nothing.  The error is DeLong's (DeLong, DeLong and Clarke-Pearson 1988), for
    values that are drawn independently.
    values: [n] real.  positive: [n] bool, with two of each kind at least.  ValueError naming the argument.
    """
    values = check_real("values", values, 1)
    positive = check_booleans("positive", positive, values.shape)
    yes, no = values[positive], values[~positive]
    if min(len(yes), len(no)) < 2:
        raise ValueError(f"positive has {len(yes)} True and {len(no)} False; it must have two of each at least")
    above = (yes[:, None] > no).double() + (yes[:, None] == no).double() / 2
    variance = above.mean(1).var() / len(yes) + above.mean(0).var() / len(no)
    return above.mean().item(), variance.sqrt().item()
