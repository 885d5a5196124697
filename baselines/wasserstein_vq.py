"""Wasserstein VQ (2025): VQ-VAE whose codevectors are to be distributed as the latents are.

From the paper's equations. Departure: the latents' Gaussian is that of a queue of the last 65,536
latents there, and here of a moving average over as many, which costs a matrix instead of the queue.
At the published batch of 65,536 latents both are that of the batch.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised

# Latents of the queue, and the deviation of codevectors at first.
QUEUE, SCALE = 65_536, 0.01
# Keeps roots of numbers that are 0 from infinite gradients.
TINY = 1e-8


class GaussianMatchedQuantiser(ClusteredQuantiser):
    """VQ-VAE with one more loss, `wasserstein`: W2 between two Gaussians, not below 0.

    W2^2 = |m - m'|^2 + trace(S + S' - 2 (S^1/2 S' S^1/2)^1/2), where m and S are the latents' mean
    and covariance and m' and S' the codevectors', all divided by the largest deviation of a
    coordinate of the latents. The latents are detached: the term trains the codebook alone.
    """

    weight: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__(codebook_size, code_dim, squared_euclidean)
        torch.nn.init.normal_(self.codebook, std=SCALE)
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(code_dim))
        self.register_buffer("square", torch.zeros(code_dim, code_dim))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        found = super().forward(latents)
        weight, mean, square = self._averages(found.assignment.latents)
        mean, square = mean / weight, square / weight
        covariance = square - torch.outer(mean, mean)
        scale = covariance.diagonal().clamp(min=0).max().sqrt() + TINY
        term = gaussian_distance(mean / scale, covariance / scale**2, self.codebook / scale)
        return replace(found, losses={**found.losses, "wasserstein": term})

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Take the latents of one batch into the averages."""
        averages = self._averages(assignment.latents)
        for old, new in zip((self.weight, self.mean, self.square), averages, strict=True):
            old.copy_(new)

    @torch.no_grad()
    def _averages(self, z: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor]:
        """Weight, sum and sum of products, with one more batch."""
        share = min(1.0, len(z) / QUEUE)
        batch = (torch.ones_like(self.weight), z.mean(0), z.T @ z / len(z))
        old = (self.weight, self.mean, self.square)
        first, second, third = (
            torch.lerp(a, b.to(a.dtype), share) for a, b in zip(old, batch, strict=True)
        )
        return first, second, third


def gaussian_distance(
    mean: Float[Tensor, " d"], covariance: Float[Tensor, "d d"], codebook: Float[Tensor, "k d"]
) -> Float[Tensor, ""]:
    """W2 between a Gaussian and the one of the codevectors; see GaussianMatchedQuantiser."""
    theirs = torch.cov(codebook.T)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * (values.clamp(min=0) + TINY).sqrt() @ vectors.T
    # Rounding makes the product unsymmetric and small eigenvalues negative.
    product = root @ theirs @ root
    roots = (torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0) + TINY).sqrt().sum()
    spread = (covariance.trace() + theirs.trace() - 2 * roots).clamp(min=0)
    return ((mean - codebook.mean(0)).square().sum() + spread + TINY).sqrt()
