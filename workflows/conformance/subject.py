"""The quantiser under test, fixed batches, and how one training step moves the codebook.

K codes, D coordinates, N latents z_i in a batch, codevectors e_k; n_k latents receive code k. There
is no optimiser, so only the refresh can move the codebook.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Quantised, rows
from models.quantiser.search import count
from workflows.conformance.adapters import adapted, table, total
from workflows.errors import ConfigError

K, D, N = 512, 8, 2048
SIMILARITIES = {"cosine": cosine, "l2": squared_euclidean}


class DoesNotApply(Exception):
    """The property cannot be tested on this quantiser. The message says why."""


@dataclass(frozen=True)
class Subject:
    """The quantiser under test.

    build: a function of K, D and any of the options anchors, offline and contrastive. anchors: what
    `build` makes if it has no such option; "none" for a plain VQ.
    """

    build: Callable[..., Any]
    anchors: str = "closest"

    def accepts(self, option: str) -> bool:
        """Return whether `build` has an argument of that name."""
        return option in inspect.signature(self.build).parameters

    def make(self, seed: int = 0, **options: Any) -> Any:
        """Build a quantiser in training mode, with those of the options that `build` accepts.

        The contrastive loss is off unless `options` turn it on. Raises ConfigError for a quantiser
        that gives a latent several codes.
        """
        torch.manual_seed(seed)
        options = {"contrastive": False, **options}
        accepted = {name: value for name, value in options.items() if self.accepts(name)}
        quantiser = adapted(self.build(K, D, **accepted), K, D)
        if quantiser.codes_per_latent != 1:
            raise ConfigError(f"gives a latent {quantiser.codes_per_latent} codes; allowed: 1")
        return quantiser.train()

    def make_refreshing(self, **options: Any) -> Any:
        """Build as `make` does. Raises DoesNotApply if the user says that there is no refresh."""
        if self.anchors == "none":
            raise DoesNotApply("a plain VQ has no refresh (--anchors none)")
        return self.make(**options)

    def nearest_shares(self) -> dict[str, float]:
        """Return, for each similarity, the share of latents that receive their nearest code."""
        quantiser, z = self.make().eval(), rows(batch(1))
        e, codes = codevectors(quantiser).clone(), quantiser(batch(1)).codes.flatten()
        return {
            name: are_largest(similarity(z, e), codes).float().mean().item()
            for name, similarity in SIMILARITIES.items()
        }


def batch(number: int) -> Tensor:
    """Return latents (b, d, h, w), the same for every quantiser."""
    return torch.randn(2, D, 32, 32, generator=torch.Generator().manual_seed(number))


def codevectors(quantiser: Any) -> Tensor:
    """Return the codebook (K, D) itself, not a copy. Raises DoesNotApply if there is none."""
    codebook = table(quantiser)
    if codebook is None:
        raise DoesNotApply("the state has no codebook of K x D numbers")
    return codebook.detach().view(K, D)


def codebook_gradient(quantiser: Any) -> Tensor:
    """Return the gradient (K, D) of the codebook; zeros if the codebook has no gradient."""
    codebook = table(quantiser)
    if codebook is None or codebook.grad is None:
        return torch.zeros(K, D)
    return codebook.grad.view(K, D)


def are_largest(scores: Tensor, chosen: Tensor) -> Tensor:
    """Return whether the chosen number of each row is the row's largest, up to rounding."""
    return scores.gather(1, chosen[:, None])[:, 0] >= scores.amax(1) - 1e-5


def step(quantiser: Any, latents: Tensor) -> Quantised:
    """Take one training step without an optimiser: forward, backward, refresh."""
    torch.manual_seed(1)
    quantiser.zero_grad()
    output = quantiser(latents)
    loss = total(output)
    if loss.requires_grad:
        loss.backward()
    quantiser.adapt(output.assignment)
    return output


def displacement(quantiser: Any, batch_number: int) -> Tensor:
    """Take a step and return by how much it moved the codevectors, (K, D)."""
    before = codevectors(quantiser).clone()
    step(quantiser, batch(batch_number))
    return codevectors(quantiser) - before


@dataclass(frozen=True)
class Move:
    """How a step moved the codebook to (1 - alpha_k) e_k + alpha_k z_k.

    weights: alpha_k (K,), 0 for codes that did not move. moved: the m codes that moved. anchors:
    the indices (m,) of their latents z_k. misfit: the largest distance of a moved codevector from
    the line to its anchor, as a share of its displacement. usage: n_k / N.
    """

    weights: Tensor
    moved: Tensor
    anchors: Tensor
    misfit: float
    usage: Tensor


def move(quantiser: Any, batch_number: int) -> Move:
    """Take a step, and derive anchors and weights from where the codevectors went.

    Raises DoesNotApply if no codevector moved.
    """
    before, latents = codevectors(quantiser).clone().double(), batch(batch_number)
    codes = step(quantiser, latents).codes.flatten()
    displacements = codevectors(quantiser).double() - before
    moved = (displacements.norm(dim=1) > 1e-4).nonzero()[:, 0]
    if not len(moved):
        raise DoesNotApply("the codebook does not move without an optimiser")
    z, e, d = rows(latents).double(), before[moved], displacements[moved]
    # For each pair of code and latent: e_k went by alpha = <d_k, z_i - e_k> / |z_i - e_k|^2 of the
    # way to z_i. The anchor is the latent whose line d_k misses by the least.
    products = d @ z.T - (d * e).sum(1, keepdim=True)
    alpha = products / -squared_euclidean(e, z)
    distances = (d.square().sum(1, keepdim=True) - alpha * products).clamp(min=0).sqrt()
    misfits, anchors = distances.div(d.norm(dim=1, keepdim=True)).min(1)
    weights = torch.zeros(K, dtype=torch.double)
    weights[moved] = alpha.gather(1, anchors[:, None])[:, 0]
    return Move(weights, moved, anchors, misfits.max().item(), usage=count(codes, K) / N)
