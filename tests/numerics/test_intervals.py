"""Intervals over seeds against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from workflows.records.intervals import interval


def test_three_seeds() -> None:
    """Mean 2, standard error 1 / sqrt 3, and t of 2 degrees of freedom 4.3027."""
    found = interval([1.0, 2.0, 3.0])
    assert (found.mean, found.seeds) == (2.0, 3)
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(4 - found.high)


def test_one_seed_has_no_interval() -> None:
    found = interval([1.0])
    assert found.mean == 1.0
    assert math.isnan(found.low)


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = interval([0.1, 0.1, 0.1])
    assert found.low == found.high == pytest.approx(0.1)


def test_an_infinite_value_leaves_no_interval() -> None:
    found = interval([1.0, math.inf])
    assert math.isinf(found.mean)
    assert math.isnan(found.high)


def test_no_values_have_no_mean() -> None:
    found = interval([])
    assert math.isnan(found.mean)
    assert math.isnan(found.low)
    assert found.seeds == 0
