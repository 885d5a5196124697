"""Anchor sampling: which latent of the batch may replace a codevector (paper, Section 3.2).

Each sampler is called as `anchors(latents, codevectors, needed, similarity, generator)` and returns
one latent, shape (m, d), for each of the m codes in `needed`: codes in steady use have a blend
weight of zero, and an anchor that nobody uses is not computed. Random draws are made for all K
codes from an explicit generator, so that they do not depend on which codes need one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from models.quantiser.distances import Similarity, grouped, nearest_latents

Anchors = Callable[
    [
        Float[Tensor, "n d"],
        Float[Tensor, "k d"],
        Int[Tensor, " m"],
        Similarity,
        Generator,
    ],
    Float[Tensor, "m d"],
]

# Latents a block when drawing from a softmax over the batch: the first pass keeps one number a
# block and code, the second looks into the drawn block alone.
BLOCK = 256


def random(
    latents: Tensor, codevectors: Tensor, needed: Tensor, _: Similarity, generator: Generator
) -> Tensor:
    """Any latent of the batch, with replacement."""
    count = len(codevectors)
    rows = torch.randint(len(latents), (count,), generator=generator, device=latents.device)
    return latents[rows[needed]]


def unique(
    latents: Tensor,
    codevectors: Tensor,
    needed: Tensor,
    similarity: Similarity,
    generator: Generator,
) -> Tensor:
    """Distinct latents in random order; with replacement if the batch has fewer than K."""
    count = len(codevectors)
    if len(latents) < count:
        return random(latents, codevectors, needed, similarity, generator)
    rows = torch.randperm(len(latents), generator=generator, device=latents.device)[:count]
    return latents[rows[needed]]


def probability(
    latents: Tensor,
    codevectors: Tensor,
    needed: Tensor,
    similarity: Similarity,
    generator: Generator,
) -> Tensor:
    """One latent a code, drawn from the softmax of its similarities to the batch (temperature 1).

    Exact, in two passes that never store the N x K matrix: a block of latents in proportion to the
    block's mass, then a latent within it. With cosine similarity the ratios are at most e^2, so the
    draw is close to uniform; with squared Euclidean distance it is peaked.
    """
    uniform = torch.rand(2, len(codevectors), generator=generator, device=latents.device)
    uniform, wanted = uniform[:, needed], codevectors[needed]
    blocks = latents.split(BLOCK)
    prepared = similarity.prepare(wanted)
    mass = latents.new_empty(len(wanted), len(blocks))
    for index, block in enumerate(blocks):
        mass[:, index] = similarity.compare(similarity.prepare(block), prepared).logsumexp(0)
    drawn = _draw(mass, uniform[0])
    within = _within_grouped if latents.device.type == "cpu" else _within_gathered
    return latents[drawn * BLOCK + within(latents, wanted, drawn, uniform[1], similarity)]


def _within_grouped(
    latents: Tensor, wanted: Tensor, drawn: Tensor, uniform: Tensor, similarity: Similarity
) -> Int[Tensor, " m"]:
    """Each code's latent within its block: the codes of a block share one product."""
    blocks = latents.split(BLOCK)
    row = torch.empty_like(drawn)
    for block, codes in grouped(drawn, len(blocks)):
        row[codes] = _draw(similarity(blocks[block], wanted[codes]).T, uniform[codes])
    return row


def _within_gathered(
    latents: Tensor, wanted: Tensor, drawn: Tensor, uniform: Tensor, similarity: Similarity
) -> Int[Tensor, " m"]:
    """The same with a copy of its block for each code: more memory, but nothing waits for a GPU."""
    rows = drawn[:, None] * BLOCK + torch.arange(BLOCK, device=latents.device)
    inside = rows < len(latents)
    members = latents[rows.clamp(max=len(latents) - 1)]
    scores = torch.vmap(lambda block, code: similarity(block, code[None])[:, 0])(members, wanted)
    return _draw(scores.masked_fill(~inside, -torch.inf), uniform)


def closest(
    latents: Tensor, codevectors: Tensor, needed: Tensor, similarity: Similarity, _: Generator
) -> Tensor:
    """The latent closest to each codevector; several codes may share one."""
    return latents[nearest_latents(latents, codevectors[needed], similarity)]


def _draw(logits: Float[Tensor, "m n"], uniform: Float[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Invert the cumulative distribution of softmax(logits) at `uniform` in [0, 1), row by row."""
    cumulative = torch.softmax(logits.double(), dim=1).cumsum(1)
    target = (uniform.double() * cumulative[:, -1])[:, None]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
