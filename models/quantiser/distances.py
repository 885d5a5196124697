"""Similarities between latents and codevectors; larger is closer.

The N x K matrix is the cost centre of a quantiser (128 MiB at the published batch), so whoever
needs only a maximum goes through it in chunks and never stores it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Similarity = Callable[[Float[Tensor, "n d"], Float[Tensor, "k d"]], Float[Tensor, "n k"]]

# Rows a chunk: 1024 x 512 floats are 2 MiB, which stays in a core's cache.
CHUNK = 1024


def cosine(latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"]) -> Tensor:
    """Cosine similarity in [-1, 1], shape (n, k). The published default."""
    return F.normalize(latents, dim=1) @ F.normalize(codevectors, dim=1).T


def squared_euclidean(latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"]) -> Tensor:
    """Minus the squared Euclidean distance, in (-inf, 0] up to rounding, shape (n, k)."""
    squares = latents.square().sum(1, keepdim=True) + codevectors.square().sum(1)
    return torch.addmm(squares, latents, codevectors.T, beta=-1, alpha=2)


@torch.no_grad()
def nearest_codes(
    latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"], similarity: Similarity
) -> Int[Tensor, " n"]:
    """The code of each latent: the row of `codevectors` with the largest similarity."""
    return torch.cat([similarity(chunk, codevectors).argmax(1) for chunk in latents.split(CHUNK)])


@torch.no_grad()
def nearest_latents(
    latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"], similarity: Similarity
) -> Int[Tensor, " k"]:
    """The latent closest to each codevector, as an index in [0, n); the first of equals."""
    best = torch.full((len(codevectors),), -torch.inf, device=latents.device)
    index = torch.zeros(len(codevectors), dtype=torch.long, device=latents.device)
    for start, chunk in zip(range(0, len(latents), CHUNK), latents.split(CHUNK), strict=True):
        value, row = similarity(chunk, codevectors).max(0)
        closer = value > best
        best = torch.where(closer, value, best)
        index = torch.where(closer, row + start, index)
    return index
