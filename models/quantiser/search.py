"""Searches among all pairs of latents and codevectors, and counts of what they find.

The matrix of similarities is the largest thing that a quantiser makes: 128 MiB at the published
batch, and 4 GiB with 16,384 codes. It is therefore computed a few rows at a time and never stored.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.quantiser.interface import Similarity

# Numbers of the matrix at a time: 2 MiB on a processor, which fit into the cache of a core; 128 MiB
# on a GPU, where starting many small kernels costs more than memory traffic.
NUMBERS = {"cpu": 1 << 19, "cuda": 1 << 25}
# A product of fewer rows than this is slower than its memory traffic.
FEWEST_ROWS = 128
# Candidates in one block of a draw.
BLOCK = 256


@torch.no_grad()
def nearest(
    vectors: Float[Tensor, "m d"], candidates: Float[Tensor, "n d"], similarity: Similarity
) -> Int[Tensor, " m"]:
    """The most similar candidate of each vector, in [0, n); the first of equals."""
    parts = vectors.split(_rows(candidates))
    return torch.cat([similarity(part, candidates).argmax(1) for part in parts])


@torch.no_grad()
def drawn(
    vectors: Float[Tensor, "m d"],
    candidates: Float[Tensor, "n d"],
    uniform: Float[Tensor, "2 m"],
    similarity: Similarity,
) -> Int[Tensor, " m"]:
    """For each vector, a candidate drawn from the softmax of its similarities to all candidates.

    uniform: two numbers in [0, 1) a vector. The first draws a block of candidates by the block's
    share of the softmax, the second a candidate in that block.
    """
    rows, found = _rows(candidates), []
    for part, numbers in zip(vectors.split(rows), uniform.split(rows, dim=1), strict=True):
        scores = similarity(part, candidates)
        padded = F.pad(scores, (0, -len(candidates) % BLOCK), value=-torch.inf)
        blocks = padded.unflatten(1, (-1, BLOCK))
        block = _inverted(blocks.logsumexp(2), numbers[0])
        inside = _inverted(blocks[torch.arange(len(part)), block], numbers[1])
        found.append(block * BLOCK + inside)
    return torch.cat(found)


def count(codes: Int[Tensor, " n"], size: int) -> Int[Tensor, " {size}"]:
    """How often each code occurs. torch.bincount would wait for a GPU to know its largest code."""
    return codes.new_zeros(size).scatter_add_(0, codes, torch.ones_like(codes))


def _rows(candidates: Tensor) -> int:
    numbers = NUMBERS.get(candidates.device.type, NUMBERS["cpu"])
    return max(FEWEST_ROWS, numbers // len(candidates))


def _inverted(logits: Float[Tensor, "m n"], uniform: Float[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Where the cumulative distribution of softmax(logits) passes `uniform`, row by row."""
    cumulative = logits.double().softmax(1).cumsum(1)
    target = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
