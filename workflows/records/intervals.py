"""What several seeds say about a mean: its 95 % interval (Student's t)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over `seeds` values; low and high are NaN for fewer than two."""

    mean: float
    low: float
    high: float
    seeds: int


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Of the mean of one value a seed. Equal values have an interval of no width.

    Raises ValueError for no values.
    """
    array = np.asarray(values, dtype=float)
    if not array.size:
        raise ValueError("no values, so no mean")
    mean = float(array.mean())
    if len(array) < 2 or not np.isfinite(array).all():
        return Interval(mean, math.nan, math.nan, len(array))
    if np.ptp(array) == 0:
        # The error of the mean is 0, by which scipy would divide.
        return Interval(mean, mean, mean, len(array))
    found = stats.ttest_1samp(array, 0).confidence_interval(CONFIDENCE)
    return Interval(mean, float(found.low), float(found.high), len(array))
