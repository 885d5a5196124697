"""Binary codes without a codebook, by vector-quantize-pytorch: LFQ (Yu et al. 2023) and BSQ (Zhao
et al. 2024), which is LFQ on the unit sphere.

Entropies are of all bits together. BSQ's authors take groups of 9 bits, which is the same at 512
codes.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import LFQ

from models.quantiser.interface import Assignment, Quantised, straight_through


class LookupFreeQuantiser(nn.Module):
    """A bit a coordinate: sign(z), or on the sphere sign(z) / sqrt(D); K = 2^D.

    Gradients pass straight to z, or on the sphere to z / |z|. With p(k | z) = softmax_k of
    2 z . e_k / temperature, the losses are `entropy`, the mean entropy of p(. | z) less the entropy
    of the mean p over the batch, in [-D log 2, D log 2]; and `commitment`, mean (z - sg(e))^2 over
    all elements. Both are 0 in evaluation.
    """

    def __init__(self, bits: int, temperature: float, spherical: bool = False) -> None:
        """bits: D. temperature: of the entropies. spherical: BSQ instead of LFQ."""
        super().__init__()
        # The library leaves the commitment out where its own weight is 0, as it is by default.
        self.inner = LFQ(dim=bits, commitment_loss_weight=1.0, spherical=spherical)
        self.codebook_size = 2**bits
        self.codes_per_latent = 1
        self.code_dim = bits
        self.temperature = temperature
        self.spherical = spherical

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        b, _, h, _ = latents.shape
        flat = rearrange(latents, "b d h w -> (b h w) d")
        found, losses = self.inner(
            flat[None], inv_temperature=1 / self.temperature, return_loss_breakdown=True
        )
        codes = found.indices[0].long()
        grid = rearrange(codes, "(b h w) -> b h w", b=b, h=h)
        passed = F.normalize(latents, dim=1) if self.spherical else latents
        return Quantised(
            vectors=straight_through(passed, self.decode(grid)),
            codes=grid,
            losses={
                "entropy": losses.per_sample_entropy - losses.batch_entropy,
                "commitment": losses.commitment,
            },
            assignment=Assignment(flat.detach(), codes),
        )

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The corners of the cube, or points of the sphere, of `codes`."""
        return self.inner.indices_to_codes(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""
