"""Similarities between latents z and codevectors e; a larger one means closer.

The published implementation offers both, as `cos` and `l2`, and takes cosine by default.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from models.quantiser import kernels
from models.quantiser.interface import Similarity


def _unit(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return F.normalize(vectors, dim=1)


def _unchanged(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return vectors


# z.e / (|z| |e|), in [-1, 1].
cosine = Similarity(prepare=_unit, compare=kernels.inner)
# -|z - e|^2, in (-inf, 0] up to rounding.
squared_euclidean = Similarity(prepare=_unchanged, compare=kernels.minus_squared_distance)
