"""Precision and recall of two sets of features by the balls of their neighbours.

Kynkäänniemi et al. 2019: a set's manifold is the union of balls about its points that reach their
k-th nearest neighbour. Precision is the share of samples within that of the real images, recall the
share of real images within that of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Of the paper.
NEIGHBOURS = 3
# Rows whose distances exist at a time, and to how many others: 134 MB, and 270 of their features.
BLOCK, OTHERS = 1024, 16384


@dataclass(frozen=True)
class Coverage:
    """precision, recall: fractions in [0, 1]."""

    precision: float
    recall: float


def coverage(real: np.ndarray, samples: np.ndarray, k: int = NEIGHBOURS) -> Coverage:
    """Of features (N, D) and (M, D). Raises ValueError unless both have more than k rows."""
    if min(len(real), len(samples)) <= k or real.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"need (N, D) and (M, D) with N, M > {k}, not {real.shape} and {samples.shape}"
        )
    return Coverage(_within(samples, real, k), _within(real, samples, k))


def nearest(queries: np.ndarray, among: np.ndarray, k: int) -> np.ndarray:
    """Rows of `among` nearest to each query, (n, k), nearest first; of equals the first."""
    found = []
    for start in range(0, len(queries), BLOCK):
        rows = queries[start : start + BLOCK]
        known: np.ndarray = np.empty((len(rows), 0))
        numbers: np.ndarray = np.empty((len(rows), 0), np.int64)
        for first, distances in _beside(rows, among):
            fresh = np.broadcast_to(first + np.arange(distances.shape[1]), distances.shape)
            known = np.concatenate([known, distances], axis=1)
            numbers = np.concatenate([numbers, fresh], axis=1)
            best = np.argsort(known, axis=1, kind="stable")[:, :k]
            known = np.take_along_axis(known, best, axis=1)
            numbers = np.take_along_axis(numbers, best, axis=1)
        found.append(numbers)
    return np.concatenate(found)


def _within(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    radii = _radii(manifold, k)
    hits = 0
    for start in range(0, len(points), BLOCK):
        rows = points[start : start + BLOCK]
        hit = np.zeros(len(rows), bool)
        for first, distances in _beside(rows, manifold):
            hit |= (distances <= radii[first : first + distances.shape[1]]).any(axis=1)
        hits += int(hit.sum())
    return hits / len(points)


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other, (n,)."""
    found = []
    for start in range(0, len(points), BLOCK):
        rows = points[start : start + BLOCK]
        least = np.empty((len(rows), 0))
        for first, distances in _beside(rows, points):
            # A point is its own nearest neighbour, at distance nought, so the k-th other one is
            # number k. Rounding would let it be a little apart from itself.
            own = start + np.arange(len(rows)) - first
            here = (own >= 0) & (own < distances.shape[1])
            distances[np.flatnonzero(here), own[here]] = 0
            both = np.concatenate([least, distances], axis=1)
            least = np.partition(both, k, axis=1)[:, : k + 1] if both.shape[1] > k else both
        found.append(least.max(axis=1))
    return np.concatenate(found)


def _beside(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Squared distances of `rows` to some of `others` at a time, in float64, and the number of the
    first of those: a million others would take 16 GB as float64, and the distances 8.
    """
    mine = rows.astype(np.float64)
    squares = np.square(mine).sum(axis=1)[:, None]
    for first in range(0, len(others), OTHERS):
        part = others[first : first + OTHERS].astype(np.float64)
        distances = squares + np.square(part).sum(axis=1) - 2 * mine @ part.T
        yield first, np.maximum(distances, 0)
