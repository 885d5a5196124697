"""SimVQ (Zhu et al. 2024), by vector-quantize-pytorch: a frozen codebook times a learned matrix.

The library holds both and draws them; search and losses are those of the other files here.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import SimVQ

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, straight_through
from models.quantiser.search import nearest


class SimQuantiser(nn.Module):
    """The codevectors are C W, where C (k d) is drawn from N(0, 1/D) and W (d d) is trained.

    A gradient of one codevector therefore moves all of them. A latent receives the nearest
    codevector by squared Euclidean distance, and gradients pass straight to the latent. Losses:
    `commitment`, mean (z - sg(e))^2, and `codebook`, mean (e - sg(z))^2, over all elements.
    """

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__()
        # By default the library rotates gradients, which is another method.
        self.inner = SimVQ(code_dim, codebook_size, rotation_trick=False)
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim

    @property
    def codebook(self) -> Float[Tensor, "k d"]:
        """The codevectors."""
        return self.inner.codebook

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        z = rearrange(latents, "b d h w -> (b h w) d")
        codebook = self.codebook
        codes = nearest(z, codebook, squared_euclidean)
        e = F.embedding(codes, codebook)
        losses = {
            "commitment": F.mse_loss(z, e.detach()),
            "codebook": F.mse_loss(e, z.detach()),
        }
        return Quantised.of_rows(latents.shape, z, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""
