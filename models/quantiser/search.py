"""Searches among all pairs of latents and codevectors.

The matrix of similarities is the largest tensor of a quantiser: 128 MiB at the published batch, and
4 GiB with 16,384 codes. The searches therefore compute a few rows at a time and never store all.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.quantiser.distances import Similarity

# How many entries of the matrix are computed at a time. On a processor 2 MiB fit into the cache of
# a core. On a GPU, which gets 128 MiB, many small kernels cost more to start than memory traffic.
NUMBERS = {"cpu": 1 << 19, "cuda": 1 << 25}
# With fewer rows than this, reading the candidates takes longer than the product.
FEWEST_ROWS = 128
# A draw first chooses a block of so many candidates, then a candidate within the block.
BLOCK = 256


@torch.no_grad()
def nearest(
    vectors: Float[Tensor, "m d"], candidates: Float[Tensor, "n d"], similarity: Similarity
) -> Int[Tensor, " m"]:
    """Return the most similar candidate of each vector, in [0, n); the first of equal ones."""
    parts = vectors.split(_rows(candidates))
    return torch.cat([similarity(part, candidates).argmax(1) for part in parts])


@torch.no_grad()
def draw_candidates(
    vectors: Float[Tensor, "m d"],
    candidates: Float[Tensor, "n d"],
    uniform: Float[Tensor, "2 m"],
    similarity: Similarity,
) -> Int[Tensor, " m"]:
    """For each vector, draw a candidate from the softmax of its similarities to all candidates.

    uniform: two random numbers in [0, 1) for each vector. The first chooses a block of candidates
    by the block's share of the softmax, the second a candidate in that block.
    """
    rows, chosen = _rows(candidates), []
    for part, numbers in zip(vectors.split(rows), uniform.split(rows, dim=1), strict=True):
        scores = similarity(part, candidates)
        padded = F.pad(scores, (0, -len(candidates) % BLOCK), value=-torch.inf)
        blocks = padded.unflatten(1, (-1, BLOCK))
        block = draw(blocks.logsumexp(2), numbers[0])
        inside = draw(blocks[torch.arange(len(part)), block], numbers[1])
        chosen.append(block * BLOCK + inside)
    return torch.cat(chosen)


def draw(logits: Float[Tensor, "*rows n"], uniform: Float[Tensor, "*rows"]) -> Int[Tensor, "*rows"]:
    """Draw an index in [0, n) from each softmax(logits) by a uniform number in [0, 1).

    The index is where the cumulative distribution passes the number.
    """
    # In float64 the sums of many small probabilities stay ordered.
    cumulative = logits.double().softmax(-1).cumsum(-1)
    # Rounding may leave the last sum below 1.
    target = uniform[..., None] * cumulative[..., -1:]
    return torch.searchsorted(cumulative, target, right=True)[..., 0].clamp(
        max=logits.shape[-1] - 1
    )


def count(codes: Int[Tensor, " n"], size: int) -> Int[Tensor, " {size}"]:
    """Return how often each code occurs, without torch.bincount, which would wait for the GPU."""
    return codes.new_zeros(size).scatter_add_(0, codes, torch.ones_like(codes))


def _rows(candidates: Tensor) -> int:
    numbers = NUMBERS.get(candidates.device.type, NUMBERS["cpu"])
    return max(FEWEST_ROWS, numbers // len(candidates))
