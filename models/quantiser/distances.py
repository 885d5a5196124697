"""Similarities between latents z and codevectors e. A larger value means closer.

The published implementation offers both as `cos` (its default) and `l2`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Takes vectors (n, d) and other vectors (k, d). Returns a matrix (n, k); larger means closer.
Similarity = Callable[[Tensor, Tensor], Tensor]


def cosine(z: Float[Tensor, "n d"], e: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """Return z.e / (|z| |e|), in [-1, 1]."""
    return F.normalize(z, dim=1) @ F.normalize(e, dim=1).T


def squared_euclidean(z: Float[Tensor, "n d"], e: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """Return -|z - e|^2, computed as 2 z.e - (|z|^2 + |e|^2); rounding may push it above 0."""
    squares = z.square().sum(1, keepdim=True) + e.square().sum(1)
    return torch.addmm(squares, z, e.T, beta=-1, alpha=2)
