"""Anchor sampling: which latent z_k of the batch may replace codevector e_k (paper, Section 3.2).

A sampler is called as `anchors(latents, codebook, needed, similarity, generator)` and returns
one latent for each of the m codes in `needed`, shape (m, d). Anchors of other codes are not
computed, because a blend gives those codes no weight. Random draws are made for all K codes, so
that a draw does not depend on which codes need one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from models.quantiser.interface import Similarity
from models.quantiser.search import drawn, nearest

Anchors = Callable[[Tensor, Tensor, Tensor, Similarity, Generator], Tensor]


def random(
    latents: Tensor, codebook: Tensor, needed: Tensor, _: Similarity, generator: Generator
) -> Tensor:
    """Any latent of the batch, drawn with replacement."""
    size = (len(codebook),)
    rows = torch.randint(len(latents), size, generator=generator, device=latents.device)
    return latents[rows[needed]]


def unique(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, generator: Generator
) -> Tensor:
    """Distinct latents in random order; like `random` if the batch has fewer than K latents."""
    if len(latents) < len(codebook):
        return random(latents, codebook, needed, similarity, generator)
    rows = torch.randperm(len(latents), generator=generator, device=latents.device)
    return latents[rows[needed]]


def probability(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, generator: Generator
) -> Tensor:
    """A latent drawn with p(i | k) = softmax_i s(z_i, e_k), at temperature 1.

    With cosine similarity two probabilities differ by a factor of e^2 at most, so the draw is close
    to uniform; with the squared Euclidean distance it is peaked.
    """
    uniform = torch.rand(2, len(codebook), generator=generator, device=latents.device)
    return latents[drawn(codebook[needed], latents, uniform[:, needed], similarity)]


def closest(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, _: Generator
) -> Tensor:
    """The latent argmax_i s(z_i, e_k); several codes may share one."""
    return latents[nearest(codebook[needed], latents, similarity)]


def farthest(
    latents: Tensor, codebook: Tensor, needed: Tensor, similarity: Similarity, _: Generator
) -> Tensor:
    """The latent argmin_i s(z_i, e_k).

    A control and no choice of the paper: ports that take a distance for the published similarity
    choose this latent by mistake.
    """
    return latents[nearest(codebook[needed], latents, lambda e, z: -similarity(e, z))]
