"""Controls, which say what a gain of CVQ-VAE is due to; none of them is a published method.

The continuous autoencoder is the ceiling and the random codebook the floor of a table. The official
order stands for the one point in which the published code computes another gradient than ours.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from baselines.vq_vae import MovingAverageQuantiser
from models.quantiser.clustered import ClusteredQuantiser, Refresher, contrastive_term
from models.quantiser.interface import Assignment, Quantised, Similarity

# Deviation of the coordinates of random codevectors. After 500 steps of batch 16 on MNIST and on
# photographs, the root mean square of latents is 0.7 in the continuous autoencoder and 1.4 to 1.9
# with VQ-VAE's moving average.
SCALE = 1.0


class NoQuantiser(nn.Module):
    """A continuous autoencoder: the latents pass as they are, without codes and without losses."""

    codebook_size = None
    codes_per_latent = 0

    def __init__(self, code_dim: int) -> None:
        """code_dim: D."""
        super().__init__()
        self.code_dim = code_dim

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Return the latents."""
        b, d, _, w = latents.shape
        codes = torch.zeros(b, 0, w, dtype=torch.long, device=latents.device)
        rows = latents.detach().permute(0, 2, 3, 1).reshape(-1, d)
        return Quantised(latents, codes, {}, Assignment(rows, codes.flatten()))

    def decode(self, codes: Int[Tensor, "b 0 w"]) -> Float[Tensor, "b d h w"]:
        """Raise TypeError, since latents without codes cannot be found again by their codes."""
        raise TypeError("a continuous autoencoder has no codes")

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""


class RandomCodebook(MovingAverageQuantiser):
    """Codevectors drawn once from N(0, SCALE^2), which neither gradients nor averages move.

    Loss: `commitment`, as of the moving average.
    """

    def __init__(self, codebook_size: int, code_dim: int, similarity: Similarity) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__(codebook_size, code_dim, similarity)
        self.codebook.normal_(std=SCALE)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""


class OfficialOrder(ClusteredQuantiser):
    """CVQ-VAE + contrastive whose codebook is refreshed before `backward`, as published.

    The published code overwrites `weight.data` between the forward and the backward pass, and
    autograd does not notice. The gradient of a cosine g . e / |e| is then g / |e| - e' (g . e') /
    |e|^3, where e is the codevector before the refresh and e' the one after it. With the squared
    Euclidean distance the order changes nothing: the term is the same if a number is added to all
    similarities of a codevector.
    """

    def __init__(
        self, codebook_size: int, code_dim: int, similarity: Similarity, refresh: Refresher
    ) -> None:
        """As of ClusteredQuantiser."""
        super().__init__(codebook_size, code_dim, similarity, refresh)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise. A copy of codebook and refresh is refreshed, so that no state changes."""
        found = super().forward(latents)
        codebook = self.codebook.clone()
        term = contrastive_term(found.assignment.latents, codebook, self.similarity)
        refresh: Any = copy.deepcopy(self.refresh)
        refresh.update(codebook.data, found.assignment, self.similarity)
        return replace(found, losses={**found.losses, "contrastive": term})
