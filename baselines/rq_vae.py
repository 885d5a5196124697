"""Residual quantisation (RQ-VAE, Lee et al. 2022), by vector-quantize-pytorch (MIT licence).

Each latent receives several codes in turn, and each code quantises the residual that the codes
before it left. All depths share one codebook, whose codevectors are moving averages. The library's
quantiser changes its codebook while it computes. Here a call freezes the codebook, and `adapt` lets
the library change it.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from baselines.expiry import changing
from models.quantiser.interface import Assignment, Quantised, straight_through
from models.streams import Purpose, word


class ResidualQuantiser(nn.Module):
    """A latent z is replaced by a sum of `depth` codevectors.

    With residuals r_0 = z and r_d = r_{d-1} - e_d, the codevector e_d is the nearest to r_{d-1}.
    The output is z_depth, where z_d = e_1 + ... + e_d, and gradients pass straight to z. The only
    loss is `commitment`, the mean over depths of mean (z - sg(z_d))^2. The grids of codes are
    stacked along the height, (b, depth h, w), with the first codes on top.
    """

    steps: Tensor

    def __init__(self, codebook_size: int, code_dim: int, depth: int, seed: int) -> None:
        """codebook_size: K. code_dim: D. depth: codes per latent. seed: of random restarts."""
        super().__init__()
        self.codebook_size = codebook_size
        self.code_dim = code_dim
        self.codes_per_latent = depth
        self.seed = seed
        self.inner = ResidualVQ(
            dim=code_dim,
            num_quantizers=depth,
            codebook_size=codebook_size,
            shared_codebook=True,
            decay=0.99,
            # Unused codevectors restart at latents of the batch, as in the published code.
            threshold_ema_dead_code=1,
            rotation_trick=False,
            # Each of several processes passes the whole batch, so the sums must not be added up.
            sync_codebook=False,
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def codebook(self) -> Float[Tensor, "k d"]:
        """The codevectors."""
        return self.inner.codebooks[0]

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        b, _, h, _ = latents.shape
        z = rearrange(latents, "b d h w -> (b h w) d")
        # In training mode the library may restart codes of a shared codebook, even a frozen one.
        self.inner.eval()
        with torch.no_grad():
            codes = self.inner(z[None], freeze_codebook=True)[1][0]
            sums = self.codebook[codes].cumsum(dim=1)
        vectors = straight_through(z, sums[:, -1])
        return Quantised(
            vectors=rearrange(vectors, "(b h w) d -> b d h w", b=b, h=h),
            codes=rearrange(codes, "(b h w) q -> b (q h) w", b=b, h=h),
            losses={"commitment": (z[:, None] - sums).square().mean()},
            assignment=Assignment(z.detach(), codes.flatten()),
        )

    def decode(self, codes: Int[Tensor, "b qh w"]) -> Float[Tensor, "b d h w"]:
        """Return the sums of the codevectors of stacked codes."""
        by_depth = rearrange(codes, "b (q h) w -> b h w q", q=self.codes_per_latent)
        # `sum` would round differently from the `cumsum` of `forward`.
        sums = self.codebook[by_depth].cumsum(dim=3)[..., -1, :]
        return rearrange(sums, "b h w d -> b d h w")

    def adapt(self, assignment: Assignment) -> None:
        """Update the averages with one batch and restart unused codevectors."""
        self.steps += 1
        seed = word(self.seed, Purpose.CODES, int(self.steps))
        with changing(self.inner, seed):
            self.inner(assignment.latents[None])
