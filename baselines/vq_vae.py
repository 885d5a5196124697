"""VQ-VAE with a moving-average codebook (van den Oord et al. 2017, appendix A.1).

VQ-VAE with a codebook that gradients train is `models.quantiser.clustered.ClusteredQuantiser`
without a refresh.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from models.quantiser.distances import Similarity
from models.quantiser.interface import (
    Assignment,
    Outcome,
    SingleCodeQuantiser,
    straight_through,
)
from models.quantiser.search import count, nearest

# Decay of the running counts and sums; gamma below.
DECAY = 0.99


class MovingAverageQuantiser(SingleCodeQuantiser):
    """Each codevector is the running mean of its latents; no gradient trains the codebook.

    If n_k latents of a batch, with sum s_k, received code k, then N_k <- gamma N_k +
    (1 - gamma) n_k, m_k <- gamma m_k + (1 - gamma) s_k and e_k = m_k / N_k. The only loss is
    `commitment`, mean (z - sg(e))^2 over all elements.
    """

    count: Tensor
    total: Tensor

    def __init__(self, codebook_size: int, code_dim: int, similarity: Similarity) -> None:
        """codebook_size: K. code_dim: D. Codevectors start uniform in [-1/K, 1/K]."""
        super().__init__(codebook_size, code_dim)
        self.similarity = similarity
        bound = 1 / codebook_size
        codebook = torch.empty(codebook_size, code_dim).uniform_(-bound, bound)
        self.register_buffer("codebook", codebook)
        self.register_buffer("count", torch.ones(codebook_size))
        self.register_buffer("total", codebook.clone())

    def _quantise(self, z: Float[Tensor, "n d"]) -> Outcome:
        codes = nearest(z, self.codebook, self.similarity)
        e = F.embedding(codes, self.codebook)
        return straight_through(z, e), codes, {"commitment": F.mse_loss(z, e)}

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Update the running counts and sums, and with them the codebook."""
        counts = count(assignment.codes, self.codebook_size)
        sums = torch.zeros_like(self.total).index_add_(0, assignment.codes, assignment.latents)
        self.count.lerp_(counts.to(self.count.dtype), 1 - DECAY)
        self.total.lerp_(sums, 1 - DECAY)
        # Count and sum of an unused code shrink alike, so its codevector stays where it is.
        self.codebook.copy_(self.total / self.count.clamp(min=1e-30)[:, None])
