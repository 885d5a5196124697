"""VQ-VAE with a moving-average codebook (van den Oord et al. 2017, appendix A.1).

VQ-VAE with a codebook that gradients train is `ClusteredQuantiser` without a refresh.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment, Quantised, codevectors, rows, straight_through
from models.quantiser.search import count, nearest

# Decay of the running counts and sums; gamma below.
DECAY = 0.99


class MovingAverageQuantiser(nn.Module):
    """Each codevector is the running mean of its latents; no gradient trains the codebook.

    If n_k latents of a batch, with sum s_k, received code k, then N_k <- gamma N_k +
    (1 - gamma) n_k, m_k <- gamma m_k + (1 - gamma) s_k and e_k = m_k / N_k. The only loss is
    `commitment`, mean (z - sg(e))^2 over all elements.
    """

    codebook: Tensor
    count: Tensor
    total: Tensor

    def __init__(self, codebook_size: int, code_dim: int, similarity: Similarity) -> None:
        """codebook_size: K. code_dim: D. Codevectors start uniform in [-1/K, 1/K]."""
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.similarity = similarity
        bound = 1 / codebook_size
        codebook = torch.empty(codebook_size, code_dim).uniform_(-bound, bound)
        self.register_buffer("codebook", codebook)
        self.register_buffer("count", torch.ones(codebook_size))
        self.register_buffer("total", codebook.clone())

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        z = rows(latents)
        codes = nearest(z, self.codebook, self.similarity)
        e = F.embedding(codes, self.codebook)
        losses = {"commitment": F.mse_loss(z, e)}
        return Quantised.of_rows(latents, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Update the running counts and sums, and with them the codebook."""
        counts = count(assignment.codes, self.codebook_size)
        sums = torch.zeros_like(self.total).index_add_(0, assignment.codes, assignment.latents)
        self.count.lerp_(counts.to(self.count.dtype), 1 - DECAY)
        self.total.lerp_(sums, 1 - DECAY)
        # Count and sum of an unused code shrink alike, so its codevector stays where it is. After
        # some thousand steps both are too small for float32, and their quotient would be nought.
        means = self.total / self.count[:, None]
        self.codebook.copy_(torch.where(counts[:, None] > 0, means, self.codebook))
