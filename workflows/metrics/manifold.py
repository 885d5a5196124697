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
# Rows whose distances to all others exist at a time.
BLOCK = 1024


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
    """Rows of `among` nearest to each query, (n, k), nearest first."""
    found = [
        np.argsort(distances, axis=1, kind="stable")[:, :k] for distances in _blocks(queries, among)
    ]
    return np.concatenate(found)


def _within(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    # A point is its own nearest neighbour, at distance nought: the k-th other one is number k.
    radii = np.concatenate(
        [np.partition(distances, k, axis=1)[:, k] for distances in _blocks(manifold, manifold)]
    )
    hits = [(distances <= radii).any(axis=1) for distances in _blocks(points, manifold)]
    return float(np.concatenate(hits).mean())


def _blocks(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances of some rows of `a` at a time to all of `b`, in float64."""
    others = b.astype(np.float64)
    squares = np.square(others).sum(axis=1)
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK].astype(np.float64)
        distances = np.square(rows).sum(axis=1)[:, None] + squares - 2 * rows @ others.T
        if a is b:
            # Else rounding would let a point be a little apart from itself.
            distances[np.arange(len(rows)), start + np.arange(len(rows))] = 0
        yield np.maximum(distances, 0)
