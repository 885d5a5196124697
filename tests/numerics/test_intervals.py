"""Intervals over seeds against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from workflows.records.intervals import interval

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "mean", "half_width"),
    [
        # Standard error 1 / sqrt 3, and t of 2 degrees of freedom 4.3027.
        ([1.0, 2.0, 3.0], 2.0, 4.302653 / math.sqrt(3)),
        ([1.0], 1.0, NAN),
        ([0.1, 0.1, 0.1], 0.1, 0.0),
        ([1.0, math.inf], math.inf, NAN),
        ([], NAN, NAN),
    ],
    ids=["three seeds", "one seed", "equal values", "an infinite value", "no values"],
)
def test_interval(values: list[float], mean: float, half_width: float) -> None:
    of_seeds = interval(values)
    assert of_seeds.mean == pytest.approx(mean, rel=1e-12, nan_ok=True)
    half_widths = (of_seeds.high - of_seeds.mean, of_seeds.mean - of_seeds.low)
    assert half_widths == pytest.approx((half_width, half_width), rel=1e-6, abs=0, nan_ok=True)
    assert math.isnan(of_seeds.low) == math.isnan(of_seeds.high) == math.isnan(half_width)
    assert of_seeds.seeds == len(values)
