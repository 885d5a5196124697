"""Precision and recall of two sets of features (Kynkäänniemi et al., 2019).

The manifold of a set is the union of balls about its points, each of which reaches to the k-th
nearest neighbour of its point. Precision is the fraction of samples in the manifold of the real
images, recall the fraction of real images in the manifold of the samples.
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
    """Return precision and recall, in [0, 1], of more than NEIGHBOURS features (n, D) each."""
    return _within(samples, real), _within(real, samples)


def nearest(queries: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the k points that are nearest to each query, (n, k), nearest first."""
    return _index(points, k).kneighbors(queries, return_distance=False)


def _index(points: np.ndarray, k: int) -> NearestNeighbors:
    # This algorithm compares blocks of rows, so the matrix of all distances never exists.
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Return the distance from each point to its k-th nearest other point, (n,)."""
    distances, _ = _index(points, k).kneighbors()
    return distances[:, -1]


def _within(points: np.ndarray, manifold: np.ndarray) -> float:
    """Return the fraction of `points` that lie in a ball about a point of `manifold`."""
    radii = _radii(manifold, NEIGHBOURS)

    def is_inside(distances: np.ndarray, _: int) -> Any:
        return (distances <= radii).any(axis=1)

    parts = pairwise_distances_chunked(
        points, manifold, reduce_func=is_inside, working_memory=MEMORY
    )
    return float(np.concatenate(list(parts)).mean())
