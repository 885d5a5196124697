"""Distances between two sets of features: Fréchet distance and kernel distance.

Both take float arrays of shape (N, D) and (M, D) and compute in float64.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Squared 2-Wasserstein distance of the two sets' Gaussians (Heusel et al., 2017).

    With X and Y the centred features over sqrt(N - 1), the covariances are X'X and Y'Y, and
    tr sqrt(X'X Y'Y) is the sum of the singular values of X Y'. That N x M matrix is used while
    both sets are smaller than D; otherwise the eigenvalues of sqrt(A) B sqrt(A), which is
    symmetric. Neither needs the unstable square root of a non-symmetric matrix.
    Raises ValueError for fewer than two features or unequal D.
    """
    a, b = _checked(features_a, features_b)
    mean_difference = a.mean(axis=0) - b.mean(axis=0)
    x = (a - a.mean(axis=0)) / np.sqrt(len(a) - 1)
    y = (b - b.mean(axis=0)) / np.sqrt(len(b) - 1)
    traces = np.square(x).sum() + np.square(y).sum()
    root = _trace_small(x, y) if max(len(a), len(b)) < a.shape[1] else _trace_large(x, y)
    return float(mean_difference @ mean_difference + traces - 2 * root)


def _trace_small(x: np.ndarray, y: np.ndarray) -> float:
    return float(linalg.svdvals(x @ y.T).sum())


def _trace_large(x: np.ndarray, y: np.ndarray) -> float:
    values, vectors = linalg.eigh(x.T @ x)
    projected = (y @ vectors) * np.sqrt(np.clip(values, 0, None))
    squares = linalg.eigvalsh(projected.T @ projected)
    return float(np.sqrt(np.clip(squares, 0, None)).sum())


def kernel_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

    KID of Bińkowski et al., 2018, over all features at once rather than over random subsets.
    May be slightly negative. Raises ValueError for fewer than two features or unequal D.
    """
    a, b = _checked(features_a, features_b)
    return float(_mean_without_diagonal(a) + _mean_without_diagonal(b) - 2 * _kernel(a, b).mean())


def _mean_without_diagonal(a: np.ndarray) -> float:
    kernel = _kernel(a, a)
    return (kernel.sum() - np.trace(kernel)) / (len(a) * (len(a) - 1))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _checked(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"need (N, D) and (M, D) with N, M >= 2, not {a.shape} and {b.shape}")
    return a.astype(np.float64), b.astype(np.float64)
