"""Anchor sampling: which latent z_k of the batch may replace codevector e_k (paper, section 3.2).

A sampler is called as `anchors(latents, codebook, needed, similarity, generator)`. `needed` holds
the indices of the m codes that the blend moves, and the sampler returns one latent for each of
them, shape (m, d). Random numbers are always drawn for all K codes, so the anchor of a code does
not depend on which other codes need an anchor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from models.quantiser.distances import Similarity
from models.quantiser.search import draw_candidates, nearest

Anchors = Callable[[Tensor, Tensor, Tensor, Similarity, Generator], Tensor]


def random(
    latents: Tensor, codebook: Tensor, needed: Tensor, _: Similarity, generator: Generator
) -> Tensor:
    """Return latents that are drawn uniformly from the batch, with replacement."""
    size = (len(codebook),)
    rows = torch.randint(len(latents), size, generator=generator, device=latents.device)
    return latents[rows[needed]]


def unique(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, generator: Generator
) -> Tensor:
    """Return distinct latents in random order; as `random` if the batch has fewer than K latents.

    The paper names this choice, but the published code lacks it.
    """
    if len(latents) < len(codebook):
        return random(latents, codebook, needed, similarity, generator)
    rows = torch.randperm(len(latents), generator=generator, device=latents.device)
    return latents[rows[needed]]


def probability(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, generator: Generator
) -> Tensor:
    """Return latents drawn with p(i | k) = softmax_i s(z_i, e_k), at temperature 1.

    With the cosine similarity two probabilities differ by a factor of e^2 at most, so the draw is
    close to uniform. With the squared Euclidean distance the draw prefers near latents strongly.
    """
    uniform = torch.rand(2, len(codebook), generator=generator, device=latents.device)
    return latents[draw_candidates(codebook[needed], latents, uniform[:, needed], similarity)]


def closest(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, _: Generator
) -> Tensor:
    """Return the latents argmax_i s(z_i, e_k); several codes may share a latent."""
    return latents[nearest(codebook[needed], latents, similarity)]


def farthest(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, _: Generator
) -> Tensor:
    """Return the latents argmin_i s(z_i, e_k).

    This is a control and not a choice of the paper. Ports of the published code choose this latent
    by mistake if they replace the similarity, where larger is closer, by a distance.
    """
    return latents[nearest(codebook[needed], latents, lambda e, z: -similarity(e, z))]
