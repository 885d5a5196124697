"""Distances between two sets of features: Fréchet distance and kernel distance.

Both take float arrays of shape (N, D) and (M, D), N and M at least 2, and compute in float64.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from workflows.metrics import KID_PARTS

# Rows of features whose kernels are computed at a time: 50 MB of float64 at D = 2,048.
BLOCK = 1024


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared 2-Wasserstein distance of the two sets' Gaussians (Heusel et al., 2017).

    With X and Y the centred features over sqrt(N - 1), the covariances are X'X and Y'Y, and
    tr sqrt(X'X Y'Y) is the sum of the singular values of X Y'. That N x M matrix is used while
    both sets are smaller than D; otherwise the eigenvalues of sqrt(A) B sqrt(A), which is
    symmetric. Neither needs the unstable square root of a non-symmetric matrix.
    """
    means = [features.mean(axis=0, dtype=np.float64) for features in (a, b)]
    apart = means[0] - means[1]
    if max(len(a), len(b)) < a.shape[1]:
        x, y = ((f - m) / np.sqrt(len(f) - 1) for f, m in zip((a, b), means, strict=True))
        traces = np.square(x).sum() + np.square(y).sum()
        root = float(linalg.svdvals(x @ y.T).sum())
    else:
        x, y = (_covariance(f, m) for f, m in zip((a, b), means, strict=True))
        traces = np.trace(x) + np.trace(y)
        root = _root_trace(x, y)
    return float(apart @ apart + traces - 2 * root)


def _covariance(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(D, D), of blocks of rows: a copy of a million features in float64 would take 20 GB."""
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), BLOCK):
        rows = features[start : start + BLOCK] - mean
        total += rows.T @ rows
    return total / (len(features) - 1)


def _root_trace(a: np.ndarray, b: np.ndarray) -> float:
    values, vectors = linalg.eigh(a)
    half = vectors * np.sqrt(np.clip(values, 0, None))
    squares = linalg.eigvalsh(half.T @ b @ half)
    return float(np.sqrt(np.clip(squares, 0, None)).sum())


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

    KID of Bińkowski et al., 2018, over all features rather than over random subsets.
    May be slightly negative.
    """
    within = (_kernel_sum(x, x, skip_diagonal=True) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(sum(within) - 2 * _kernel_sum(a, b) / (len(a) * len(b)))


def kernel_deviation(real: np.ndarray, samples: np.ndarray) -> float:
    """The standard error of `kernel_distance` that is due to which samples were drawn.

    From the distances of parts of at least two samples each, all held against the same real
    features. samples: at least 4.
    """
    parts = np.array_split(samples, min(KID_PARTS, len(samples) // 2))
    distances = [kernel_distance(real, part) for part in parts]
    return float(np.std(distances, ddof=1) / len(parts) ** 0.5)


def _kernel_sum(a: np.ndarray, b: np.ndarray, skip_diagonal: bool = False) -> float:
    """The kernel over all pairs of rows; skip_diagonal: `a` is `b`, and no row pairs with itself.

    Blocks of features and kernels are all that exists at a time: at N = 10,000 the whole matrix
    would take 800 MB. Of a symmetric matrix the blocks above the diagonal count twice.
    """
    total = 0.0
    for i in range(0, len(a), BLOCK):
        rows = a[i : i + BLOCK].astype(np.float64)
        for j in range(i if skip_diagonal else 0, len(b), BLOCK):
            kernel = rows @ b[j : j + BLOCK].astype(np.float64).T
            kernel /= a.shape[1]
            kernel += 1
            if skip_diagonal and i == j:
                np.fill_diagonal(kernel, 0)
            # Not `kernel**3`, which calls pow for each of its elements.
            block = float(np.vdot(kernel * kernel, kernel))
            total += 2 * block if skip_diagonal and j > i else block
    return total
