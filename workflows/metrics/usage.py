"""Codebook usage and perplexity, from how often each code was hit."""

from __future__ import annotations

import numpy as np


def usage(counts: np.ndarray) -> float:
    """Return the fraction of codes that were hit, in [0, 1]. counts: (K,)."""
    return float(np.count_nonzero(counts) / len(counts))


def perplexity(counts: np.ndarray) -> float:
    """Return exp(entropy of the codes' frequencies), in [1, K]; 0 if all counts (K,) are 0."""
    total = counts.sum()
    if total == 0:
        return 0.0
    frequencies = counts[counts > 0] / total
    return float(np.exp(-(frequencies * np.log(frequencies)).sum()))
