"""VQ-VAE's moving average with expiry of codes, by vector-quantize-pytorch.

The average is that of van den Oord et al. 2017, Appendix A.1, with smoothed counts. Expiry is
Jukebox's (Dhariwal et al. 2020). The library's quantiser changes while it computes; here a call
reads its codebook, and `adapt` lets it change.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, straight_through
from models.quantiser.refresh import Step
from models.quantiser.search import nearest
from models.streams import Purpose, word


class ExpiringQuantiser(nn.Module):
    """Codevectors are moving averages of their latents; one that few latents chose expires.

    After every batch a codevector whose running count is below `expiry` becomes a random latent of
    the batch, with the count `expiry`. Loss: `commitment`, mean (z - sg(e))^2 over all elements.
    """

    def __init__(
        self, codebook_size: int, code_dim: int, decay: float, expiry: float, seed: int
    ) -> None:
        """codebook_size: K. code_dim: D. decay: of counts and sums. expiry: 0 is never. seed: of
        the random latents.
        """
        super().__init__()
        self.inner = VectorQuantize(
            dim=code_dim,
            codebook_size=codebook_size,
            decay=decay,
            threshold_ema_dead_code=expiry,
            rotation_trick=False,
            # Each of several processes passes the whole batch, so the sums must not be added up.
            sync_codebook=False,
        )
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.seed = seed
        self.step = Step()

    @property
    def codebook(self) -> Float[Tensor, "k d"]:
        """The codevectors."""
        return self.inner.codebook

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        z = rearrange(latents, "b d h w -> (b h w) d")
        codes = nearest(z, self.codebook, squared_euclidean)
        e = F.embedding(codes, self.codebook)
        losses = {"commitment": F.mse_loss(z, e)}
        return Quantised.of_rows(latents.shape, z, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Move the averages with one batch and let codes expire."""
        self.step.passed += 1
        training = self.inner.training
        self.inner.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(word(self.seed, Purpose.CODES, self.step.passed))
            self.inner(assignment.latents[None])
        self.inner.train(training)
