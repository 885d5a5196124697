"""Residual quantisation (RQ-VAE, Lee et al. 2022), by vector-quantize-pytorch.

A latent is coded by several codes in turn. Each codes the difference that the codes before it have
left, and all share one codebook, which moves by averages. The library's quantiser changes while it
computes; here it computes with its codebook frozen, and changes in `adapt`.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from models.quantiser.interface import Assignment, Quantised, straight_through
from models.streams import Purpose, word

DECAY = 0.99


class ResidualQuantiser(nn.Module):
    """`depth` codes a latent.

    Loss: `commitment`, the mean over depths of mean (z - sg(z_d))^2, where z_d is the sum of the
    first d codevectors. The grids of codes are stacked along the height: (b, depth h, w), that of
    the first codes on top.
    """

    steps: Tensor

    def __init__(self, codebook_size: int, code_dim: int, depth: int, seed: int) -> None:
        """codebook_size: K. code_dim: D. depth: codes a latent. seed: of restarted codevectors."""
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
            decay=DECAY,
            # Unused codevectors are restarted at latents of the batch, as in the published code.
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
        """Quantise."""
        b, _, h, _ = latents.shape
        flat = rearrange(latents, "b d h w -> (b h w) d")
        with torch.no_grad():
            codes = self.inner(flat[None], freeze_codebook=True)[1][0]
            sums = self.codebook[codes].cumsum(dim=1)
        vectors = straight_through(flat, sums[:, -1])
        stacked = rearrange(codes, "(b h w) q -> b (q h) w", b=b, h=h)
        return Quantised(
            vectors=rearrange(vectors, "(b h w) d -> b d h w", b=b, h=h),
            codes=stacked,
            losses={"commitment": (flat[:, None] - sums).square().mean()},
            assignment=Assignment(flat.detach(), rearrange(codes, "n q -> (n q)")),
        )

    def decode(self, codes: Int[Tensor, "b qh w"]) -> Float[Tensor, "b d h w"]:
        """The sums of the codevectors of stacked codes."""
        deep = rearrange(codes, "b (q h) w -> b h w q", q=self.codes_per_latent)
        return rearrange(self.codebook[deep].cumsum(dim=3)[..., -1, :], "b h w d -> b d h w")

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Move the averages with one batch; draws depend on seed and step alone."""
        self.steps += 1
        training = self.inner.training
        self.inner.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(word(self.seed, Purpose.CODES, int(self.steps)))
            self.inner(assignment.latents[None])
        self.inner.train(training)
