"""Precision and recall of two sets of features by the balls of their neighbours.

Kynkäänniemi et al. 2019: a set's manifold is the union of balls about its points that reach their
k-th nearest neighbour. Precision is the share of samples within that of the real images, recall the
share of real images within that of the samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from workflows.metrics import NEIGHBOURS

# MiB of distances that exist at a time.
MEMORY = 256


def coverage(real: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Precision and recall, in [0, 1], of more than NEIGHBOURS features (N, D) and (M, D) each."""
    return _within(samples, real), _within(real, samples)


def nearest(queries: np.ndarray, among: np.ndarray, k: int) -> np.ndarray:
    """Rows of `among` nearest to each query, (n, k), nearest first."""
    return _index(among, k).kneighbors(queries, return_distance=False)


def _index(points: np.ndarray, k: int) -> NearestNeighbors:
    # Compares blocks of rows, so that no matrix of all distances exists.
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Distance of each point to its k-th nearest other, (n,)."""
    distances, _ = _index(points, k).kneighbors()
    return distances[:, -1]


def _within(points: np.ndarray, manifold: np.ndarray) -> float:
    """The share of `points` that lie in a ball of the manifold."""
    radii = _radii(manifold, NEIGHBOURS)

    def hits(distances: np.ndarray, _: int) -> Any:
        return (distances <= radii).any(axis=1)

    parts = pairwise_distances_chunked(points, manifold, reduce_func=hits, working_memory=MEMORY)
    return float(np.concatenate(list(parts)).mean())
