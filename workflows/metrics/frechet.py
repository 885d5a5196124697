"""Fréchet distance and kernel distance between two sets of features.

Both take float arrays of shape (N, D) and (M, D), N and M at least 2, and compute in float64.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from workflows.metrics import KID_PARTS

# Rows of features whose kernels are computed at a time: 50 MB of float64 at D = 2,048.
BLOCK = 1024


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared 2-Wasserstein distance of the sets' Gaussians (Heusel et al., 2017).

    With X and Y the centred features over sqrt(N - 1), the covariances are X'X and Y'Y, and
    tr sqrt(X'X Y'Y) is the sum of the singular values of X Y'. That N x M matrix is used if both
    sets are smaller than D. Otherwise the eigenvalues of the symmetric sqrt(A) B sqrt(A) are used.
    Neither way needs the unstable square root of a matrix that is not symmetric.
    """
    means = [features.mean(axis=0, dtype=np.float64) for features in (a, b)]
    difference = means[0] - means[1]
    if max(len(a), len(b)) < a.shape[1]:
        x, y = ((f - m) / np.sqrt(len(f) - 1) for f, m in zip((a, b), means, strict=True))
        traces = np.square(x).sum() + np.square(y).sum()
        root = float(linalg.svdvals(x @ y.T).sum())
    else:
        x, y = (_covariance(f, m) for f, m in zip((a, b), means, strict=True))
        traces = np.trace(x) + np.trace(y)
        root = _root_trace(x, y)
    return float(difference @ difference + traces - 2 * root)


def _covariance(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the covariance (D, D)."""
    # In blocks, because a copy of a million features in float64 would take 20 GB.
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), BLOCK):
        rows = features[start : start + BLOCK] - mean
        total += rows.T @ rows
    return total / (len(features) - 1)


def _root_trace(a: np.ndarray, b: np.ndarray) -> float:
    """Return tr sqrt(A B) of two covariances."""
    values, vectors = linalg.eigh(a)
    half = vectors * np.sqrt(np.clip(values, 0, None))
    squares = linalg.eigvalsh(half.T @ b @ half)
    return float(np.sqrt(np.clip(squares, 0, None)).sum())


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

    This is the KID of Bińkowski et al., 2018, over all features rather than over random subsets.
    The value may be slightly negative.
    """
    within = (_kernel_sum(x, x, skip_diagonal=True) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(sum(within) - 2 * _kernel_sum(a, b) / (len(a) * len(b)))


def kernel_deviation(real: np.ndarray, samples: np.ndarray) -> float:
    """Return the standard error of `kernel_distance` that comes from the draw of the samples.

    Parts of at least two samples are each compared with all real features. samples: at least 4.
    """
    parts = np.array_split(samples, min(KID_PARTS, len(samples) // 2))
    distances = [kernel_distance(real, part) for part in parts]
    return float(np.std(distances, ddof=1) / len(parts) ** 0.5)


def _kernel_sum(a: np.ndarray, b: np.ndarray, skip_diagonal: bool = False) -> float:
    """Return the sum of the kernel over all pairs of rows.

    skip_diagonal: `a` is `b`, and no row pairs with itself. Only a block of the kernel matrix
    exists at a time: the whole matrix would take 800 MB at N = 10,000. If the matrix is symmetric,
    the blocks above the diagonal count twice.
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
            # `kernel**3` would call the slow pow for each element.
            block = float(np.vdot(kernel * kernel, kernel))
            total += 2 * block if skip_diagonal and j > i else block
    return total
