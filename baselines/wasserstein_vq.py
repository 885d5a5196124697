"""Wasserstein VQ (2025): VQ-VAE with a loss that gives codevectors the distribution of latents.

The losses are those of the paper. The common scale of both Gaussians, the first codevectors and the
weights of the losses are those of the authors' code. Departure: the authors fit the Gaussian of the
latents to a queue of the last 65,536 latents. Here a moving average over as many latents replaces
the queue and needs less memory. At the published batch of 65,536 latents both are the Gaussian of
the batch.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised

# The number of latents in the paper's queue.
QUEUE = 65_536
# The standard deviation of codevectors at the start.
SCALE = 0.01
# Keeps the gradient of a square root finite at 0.
TINY = 1e-8


class GaussianMatchedQuantiser(ClusteredQuantiser):
    """VQ-VAE with one more loss, `wasserstein`: the distance W2 between two Gaussians, at least 0.

    W2^2 = |m - m'|^2 + trace(S + S' - 2 (S^1/2 S' S^1/2)^1/2), where m and S are the mean and the
    covariance of latents, and m' and S' those of codevectors. All are divided by the largest
    standard deviation of a coordinate of the latents. The latents are detached, so the term trains
    the codebook alone.
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
        """Quantise a batch of latents."""
        quantised = super().forward(latents)
        weight, mean, square = self._averages(quantised.assignment.latents)
        mean, square = mean / weight, square / weight
        covariance = square - torch.outer(mean, mean)
        scale = covariance.diagonal().clamp(min=0).max().sqrt() + TINY
        term = gaussian_distance(mean / scale, covariance / scale**2, self.codebook / scale)
        return replace(quantised, losses={**quantised.losses, "wasserstein": term})

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Add the latents of one batch to the moving averages."""
        self.weight, self.mean, self.square = self._averages(assignment.latents)

    @torch.no_grad()
    def _averages(self, z: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the moving averages of 1, z and z z^T after one more batch."""
        share = min(1.0, len(z) / QUEUE)
        return (
            self.weight.lerp(torch.ones_like(self.weight), share),
            self.mean.lerp(z.mean(0), share),
            self.square.lerp(z.T @ z / len(z), share),
        )


def gaussian_distance(
    mean: Float[Tensor, " d"], covariance: Float[Tensor, "d d"], codebook: Float[Tensor, "k d"]
) -> Float[Tensor, ""]:
    """Return W2 between a Gaussian and that of the codevectors; see GaussianMatchedQuantiser."""
    codebook_covariance = torch.cov(codebook.T)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * (values.clamp(min=0) + TINY).sqrt() @ vectors.T
    # Rounding makes the product asymmetric and small eigenvalues negative.
    product = root @ codebook_covariance @ root
    roots = (torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0) + TINY).sqrt().sum()
    spread = (covariance.trace() + codebook_covariance.trace() - 2 * roots).clamp(min=0)
    return ((mean - codebook.mean(0)).square().sum() + spread + TINY).sqrt()
