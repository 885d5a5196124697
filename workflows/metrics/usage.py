"""Codebook usage and perplexity over a whole split, from how often each code was hit."""

from __future__ import annotations

import numpy as np


def usage(counts: np.ndarray) -> float:
    """Fraction of codes hit at least once, in [0, 1]. counts: shape (K,)."""
    return float(np.count_nonzero(counts) / len(counts))


def perplexity(counts: np.ndarray) -> float:
    """Exponential of the entropy of code frequencies, in [1, K]; 0 if nothing was counted."""
    total = counts.sum()
    if total == 0:
        return 0.0
    frequencies = counts[counts > 0] / total
    return float(np.exp(-(frequencies * np.log(frequencies)).sum()))
