"""Controls, which show where a gain of CVQ-VAE comes from. None of them is a published method.

The continuous autoencoder is the ceiling of a table, and the random codebook is its floor. The
official order measures the one point in which the gradient of the published code differs from ours.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from baselines.vq_vae import MovingAverageQuantiser
from models.quantiser.clustered import ClusteredQuantiser, contrastive_term
from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment, Quantised, rows

# Standard deviation of the coordinates of random codevectors. After 500 steps of batch 16 on MNIST
# and on photographs, the root mean square of latents is 0.7 in the continuous autoencoder and 1.4
# to 1.9 in VQ-VAE with a moving average.
SCALE = 1.0


class NoQuantiser(nn.Module):
    """A continuous autoencoder: the latents pass unchanged, without codes and without losses."""

    codebook_size = None
    codes_per_latent = 0

    def __init__(self, code_dim: int) -> None:
        """code_dim: D."""
        super().__init__()
        self.code_dim = code_dim

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Return the latents."""
        no_codes = torch.zeros_like(latents[:, 0, :0], dtype=torch.long)
        assignment = Assignment(rows(latents.detach()), no_codes.flatten())
        return Quantised(latents, no_codes, {}, assignment)

    def decode(self, codes: Int[Tensor, "b 0 w"]) -> Float[Tensor, "b d h w"]:
        """Raise TypeError, because no codes describe the latents."""
        raise TypeError("a continuous autoencoder has no codes")

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""


class RandomCodebook(MovingAverageQuantiser):
    """The codevectors are drawn once from N(0, SCALE^2), and nothing moves them.

    The only loss is `commitment`, as in the moving average.
    """

    def __init__(self, codebook_size: int, code_dim: int, similarity: Similarity) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__(codebook_size, code_dim, similarity)
        self.codebook.normal_(std=SCALE)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""


class OfficialOrder(ClusteredQuantiser):
    """CVQ-VAE + contrastive, refreshed before `backward` as in the published code.

    The published code overwrites `weight.data` between the forward and the backward pass, and
    autograd does not notice. The gradient of a cosine g . e / |e| is then g / |e| -
    e' (g . e') / |e|^3, where the refresh replaces the codevector e by e'. With the squared
    Euclidean distance the order changes nothing, because the term stays the same if a number is
    added to all similarities of a codevector.
    """

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        quantised = super().forward(latents)
        codebook = self.codebook.clone()
        term = contrastive_term(quantised.assignment.latents, codebook, self.similarity)
        if torch.is_grad_enabled():
            # Overwrite the values that autograd saved for the gradient of the term. The codebook
            # and the rule are copies, so that no state changes.
            refresh: Any = copy.deepcopy(self.refresh)
            refresh.update(codebook.data, quantised.assignment, self.similarity)
        return replace(quantised, losses={**quantised.losses, "contrastive": term})
