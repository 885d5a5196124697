"""What is asked: a quantiser, fixed batches, and how one training step moves its codebook.

K codes, D coordinates, N latents z_i a batch, codevectors e_k, of which n_k latents receive code k.
No optimiser steps, so whatever moves the codebook is the refresh.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Quantised
from models.quantiser.search import count
from workflows.conformance.adapters import adapted, rows, table, total
from workflows.errors import ConfigError

K, D, N = 512, 8, 2048
SIMILARITIES = {"cosine": cosine, "l2": squared_euclidean}


class DoesNotApply(Exception):
    """A property that this quantiser does not have. The message says why."""


@dataclass(frozen=True)
class Subject:
    """build: a function of K, D and some of the options anchors, offline and contrastive.
    anchors: those that `build` makes without being told; "none" for a plain VQ.
    """

    build: Callable[..., Any]
    anchors: str = "closest"

    def takes(self, option: str) -> bool:
        """Whether `build` has an argument of that name."""
        return option in inspect.signature(self.build).parameters

    def make(self, seed: int = 0, **options: Any) -> Any:
        """A new quantiser in training mode. Options that `build` has no argument for are dropped,
        and `contrastive` is off unless asked for.
        """
        torch.manual_seed(seed)
        wanted = {"contrastive": False, **options}
        taken = {name: value for name, value in wanted.items() if self.takes(name)}
        quantiser = adapted(self.build(K, D, **taken), K, D)
        if quantiser.codes_per_latent != 1:
            raise ConfigError(f"gives a latent {quantiser.codes_per_latent} codes; allowed: 1")
        return quantiser.train()

    def refreshing(self, **options: Any) -> Any:
        """The same. Raises DoesNotApply if it is said to have no refresh."""
        if self.anchors == "none":
            raise DoesNotApply("a plain VQ has no refresh (--anchors none)")
        return self.make(**options)

    def nearest(self) -> dict[str, float]:
        """Similarity -> the share of latents whose code is the nearest by it."""
        quantiser, z = self.make().eval(), rows(batch(1))
        e, codes = codevectors(quantiser).clone(), quantiser(batch(1)).codes.flatten()
        return {
            name: are_largest(similarity(z, e), codes).float().mean().item()
            for name, similarity in SIMILARITIES.items()
        }


def batch(number: int) -> Tensor:
    """Latents (b, d, h, w), the same for every quantiser."""
    return torch.randn(2, D, 32, 32, generator=torch.Generator().manual_seed(number))


def codevectors(quantiser: Any) -> Tensor:
    """The codebook (K, D) as it is now, not a copy."""
    found = table(quantiser)
    if found is None:
        raise DoesNotApply("the state has no table of K x D numbers")
    return found.detach().view(K, D)


def gradient(quantiser: Any) -> Tensor:
    """That of the codebook (K, D), which is zero where nothing trains it."""
    found = table(quantiser)
    return torch.zeros(K, D) if found is None or found.grad is None else found.grad.view(K, D)


def are_largest(scores: Tensor, chosen: Tensor) -> Tensor:
    """Whether the chosen number of each row is its largest, up to rounding."""
    return scores.gather(1, chosen[:, None])[:, 0] >= scores.amax(1) - 1e-5


def step(quantiser: Any, latents: Tensor) -> Quantised:
    """One training step without an optimiser: forward, backward, refresh."""
    torch.manual_seed(1)
    quantiser.zero_grad()
    output = quantiser(latents)
    loss = total(output)
    if loss.requires_grad:
        loss.backward()
    quantiser.adapt(output.assignment)
    return output


def way(quantiser: Any, number: int) -> Tensor:
    """The way (K, D) that a step on a fixed batch moves the codevectors."""
    before = codevectors(quantiser).clone()
    step(quantiser, batch(number))
    return codevectors(quantiser) - before


@dataclass(frozen=True)
class Move:
    """How a step moved the codebook to (1 - alpha_k) e_k + alpha_k z_k.

    weights: alpha_k (K,), 0 for codes that stayed. moved: the m codes that did not. anchors: the
    index i of each of their z_k, (m,). misfit: how far the worst of them ends from that line, as a
    share of its way. before: e_k (K, D). latents: z_i (N, D). usage: n_k / N.
    """

    weights: Tensor
    moved: Tensor
    anchors: Tensor
    misfit: float
    before: Tensor
    latents: Tensor
    usage: Tensor


def move(quantiser: Any, number: int) -> Move:
    """Take a step on a fixed batch, and find anchors and weights from where the codevectors went.

    Raises DoesNotApply if they stayed where they were.
    """
    before, latents = codevectors(quantiser).clone().double(), batch(number)
    codes = step(quantiser, latents).codes.flatten()
    ways = codevectors(quantiser).double() - before
    moved = (ways.norm(dim=1) > 1e-4).nonzero()[:, 0]
    if not len(moved):
        raise DoesNotApply("the codebook does not move without an optimiser")
    z, e, ways = rows(latents).double(), before[moved], ways[moved]
    # The way of e_k ends on the line to z_k, at alpha = <way, z_k - e_k> / |z_k - e_k|^2.
    products = ways @ z.T - (ways * e).sum(1, keepdim=True)
    alpha = products / -squared_euclidean(e, z)
    misfits = (ways.square().sum(1, keepdim=True) - alpha * products).clamp(min=0).sqrt()
    worst, anchors = misfits.div(ways.norm(dim=1, keepdim=True)).min(1)
    weights = torch.zeros(K, dtype=torch.double)
    weights[moved] = alpha.gather(1, anchors[:, None])[:, 0]
    usage = count(codes, K) / N
    return Move(weights, moved, anchors, worst.max().item(), before.float(), rows(latents), usage)
