"""VQ-VAE's moving-average codebook (van den Oord et al. 2017, Appendix A.1).

VQ-VAE with a codebook trained by gradient is `models.quantiser.clustered.ClusteredQuantiser`
without a refresh.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.interface import Assignment, Quantised, Similarity, straight_through
from models.quantiser.search import count, nearest

# Of counts and sums.
DECAY = 0.99


class MovingAverageQuantiser(nn.Module):
    """Each codevector is the running mean of the latents assigned to it; no gradient trains it.

    Loss: `commitment`, mean (z - sg(e))^2 over all elements.
    """

    codebook: Tensor
    count: Tensor
    total: Tensor

    def __init__(self, codebook_size: int, code_dim: int, similarity: Similarity) -> None:
        """codebook_size: K. code_dim: D."""
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
        """Quantise."""
        z = rearrange(latents, "b d h w -> (b h w) d")
        codes = nearest(z, self.codebook, self.similarity)
        e = F.embedding(codes, self.codebook)
        losses = {"commitment": F.mse_loss(z, e)}
        return Quantised.of_rows(latents.shape, z, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Move counts, sums and with them the codebook towards one batch."""
        counts = count(assignment.codes, self.codebook_size)
        sums = torch.zeros_like(self.total).index_add_(0, assignment.codes, assignment.latents)
        self.count.lerp_(counts.to(self.count.dtype), 1 - DECAY)
        self.total.lerp_(sums, 1 - DECAY)
        # Count and sum of an unused code decay alike, so its codevector does not move.
        self.codebook.copy_(self.total / self.count.clamp(min=1e-30)[:, None])
