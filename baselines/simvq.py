"""SimVQ (Zhu et al. 2024): the codebook is a frozen matrix times a learned matrix.

vector-quantize-pytorch (MIT licence) draws and holds both matrices. The search and the losses are
those of VQ-VAE.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import SimVQ

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, codevectors, rows, straight_through
from models.quantiser.search import nearest


class SimQuantiser(nn.Module):
    """The codevectors are C W, where C (k d) is drawn from N(0, 1/D) and W (d d) is trained.

    The gradient of one codevector therefore moves all codevectors. A latent z receives the nearest
    codevector e by squared Euclidean distance, and gradients pass straight to z. The losses are
    means over all elements: `commitment` is (z - sg(e))^2 and `codebook` is (e - sg(z))^2.
    """

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        # By default the library also rotates gradients (baselines/rotation_trick.py).
        self.inner = SimVQ(code_dim, codebook_size, rotation_trick=False)

    @property
    def codebook(self) -> Float[Tensor, "k d"]:
        """The codevectors."""
        return self.inner.codebook

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        z = rows(latents)
        codebook = self.codebook
        codes = nearest(z, codebook, squared_euclidean)
        e = F.embedding(codes, codebook)
        losses = {
            "commitment": F.mse_loss(z, e.detach()),
            "codebook": F.mse_loss(e, z.detach()),
        }
        return Quantised.of_rows(latents, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing, because gradients train the whole state."""
