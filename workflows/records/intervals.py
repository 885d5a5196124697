"""The 95 % interval of a mean over seeds (Student's t)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean over `seeds` values, NaN for none; low and high are NaN for fewer than two values."""

    mean: float
    low: float
    high: float
    seeds: int


def interval(values: Sequence[float] | np.ndarray | pd.Series) -> Interval:
    """Return the interval of the mean of `values`, of which each seed has one."""
    array = np.asarray(values, dtype=float)
    mean = float(array.mean()) if array.size else math.nan
    if len(array) < 2 or not np.isfinite(array).all():
        return Interval(mean, math.nan, math.nan, len(array))
    if np.ptp(array) == 0:
        # The standard error of equal values is 0, by which scipy would divide.
        return Interval(mean, mean, mean, len(array))
    bounds = stats.ttest_1samp(array, 0).confidence_interval(CONFIDENCE)
    return Interval(mean, float(bounds.low), float(bounds.high), len(array))
