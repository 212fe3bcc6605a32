"""How far a copy of the pocket model is from itself, in another precision or at another temperature."""

import pytest
import torch

from pgnotes.lm.pocket.sampler_gap import sampler_gap

SMALL = {"prompts": 2, "completions": 4}  # eight texts


def test_the_gap_is_policy_less_sampler_of_what_the_sampler_drew():
    """At a temperature a whole completion's gap is known to be 0 or below on average: minus a KL."""
    same = sampler_gap(**SMALL)
    assert same.tokens.abs().max() < 1e-4, "one program, one precision: rounding alone"
    assert same.wholes.shape == (8,)
    assert torch.isclose(same.tokens.sum(), same.wholes.sum()), "each token belongs to one completion"

    hotter = sampler_gap(temperature=1.5, **SMALL)
    assert hotter.wholes.mean() < -0.1, "E_μ[log π − log μ] is −KL(μ‖π)"


def test_fewer_bits_are_a_wider_gap():
    widths = [sampler_gap(kind, **SMALL).tokens.abs().mean() for kind in ("float32", "float16", "bfloat16")]
    assert 10 * widths[0] < widths[1] < widths[2] / 2


def test_bad_input_is_named():
    for given, name in (({"precision": "float8"}, "precision"), ({"temperature": 0.0}, "temperature")):
        with pytest.raises(ValueError, match=name):
            sampler_gap(**given)
    for name in SMALL:
        with pytest.raises(ValueError, match=name):
            sampler_gap(**{name: 0})
