"""Several runs of one row as one line: their mean, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Spread:
    """Over `seeds` runs, for every x: mean, lowest and highest."""

    x: Any
    mean: Any
    low: Any
    high: Any
    seeds: int

    def __len__(self) -> int:
        """The number of x."""
        return len(self.x)

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        mean, low, high = (part * factor for part in (self.mean, self.low, self.high))
        return Spread(self.x, mean, low, high, self.seeds)

    def where_positive(self) -> Spread:
        """Only where the mean is positive, and no range from 0: for a logarithmic axis."""
        kept = self.mean > 0
        mean, low, high = (part[kept] for part in (self.mean, self.low, self.high))
        return Spread(self.x[kept], mean, np.where(low > 0, low, np.nan), high, self.seeds)


def spread(x: Any, values: np.ndarray) -> Spread:
    """values: (seeds, x)."""
    if not values.size:
        nothing = np.array([])
        return Spread(nothing, nothing, nothing, nothing, 0)
    return Spread(np.asarray(x), values.mean(0), values.min(0), values.max(0), len(values))


def of_curves(curves: pd.DataFrame, cells: Sequence[str], x: str, metric: str) -> Spread:
    """A metric in the course of training, at the steps that every run has recorded.

    x: the column of the horizontal axis, epoch or step. Runs without a record do not count.
    """
    known = curves.dropna(subset=[metric])
    runs = [known[known["cell"] == cell].set_index("step", drop=False) for cell in cells]
    runs = [run for run in runs if len(run)]
    if not runs:
        return spread([], np.empty((0, 0)))
    both = pd.concat([run[metric] for run in runs], axis=1, join="inner").sort_index()
    if both.empty:
        # A line of one run, and counted as one, rather than none.
        return of_curves(curves, [runs[0]["cell"].iloc[0]], x, metric)
    return spread(runs[0].loc[both.index, x].to_numpy(), both.to_numpy(dtype=float).T)


def of_codes(codes: pd.DataFrame, cells: Sequence[str], size: int) -> Spread:
    """Frequency of a codebook's codes by rank, 1 to `size`: each run sorted, then averaged."""
    found = []
    for cell in cells:
        counts = codes.loc[codes["cell"] == cell, "count"].to_numpy(dtype=float)
        if counts.sum() > 0:
            counts = np.sort(counts)[::-1][:size]
            found.append(np.pad(counts, (0, size - len(counts))) / counts.sum())
    if not found:
        return spread([], np.empty((0, 0)))
    return spread(np.arange(1, size + 1), np.stack(found))


def of_values(values: pd.DataFrame, tried: Sequence[int]) -> Spread:
    """Columns `x` and `value`, a line a run; NaN for a `tried` x that no run has a value for.

    `seeds` is the largest number of runs at one x.
    """
    if values.empty:
        return spread([], np.empty((0, 0)))
    by_x = values.groupby("x")["value"]
    parts = (by_x.mean(), by_x.min(), by_x.max())
    mean, low, high = (part.reindex(np.asarray(tried)).to_numpy() for part in parts)
    return Spread(np.asarray(tried), mean, low, high, int(by_x.size().max()))
