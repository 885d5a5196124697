"""Multichannel quantisation (MoVQ, Zheng et al. 2022, section 3.3).

The modulated decoder of MoVQ is `models.vqgan.VqganDecoder`.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.quantiser.interface import Assignment, Quantised


class MultichannelQuantiser(nn.Module):
    """Each latent is cut into groups of channels, and one codebook quantises every group.

    The codebook has D / groups dimensions, and a latent has `groups` codes. The grids of codes are
    stacked along the height, (b, groups h, w), with the codes of the first groups on top.
    """

    def __init__(self, inner: Any, groups: int) -> None:
        """inner: the quantiser of one group. groups: the number of groups in a latent."""
        super().__init__()
        self.inner = inner
        self.codebook_size = inner.codebook_size
        self.code_dim = inner.code_dim * groups
        self.codes_per_latent = groups

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        groups = rearrange(latents, "b (g d) h w -> b d (g h) w", g=self.codes_per_latent)
        inner = self.inner(groups)
        return Quantised(self._join(inner.vectors), inner.codes, inner.losses, inner.assignment)

    def decode(self, codes: Int[Tensor, "b gh w"]) -> Float[Tensor, "b d h w"]:
        """Return the joined codevectors of stacked codes."""
        return self._join(self.inner.decode(codes))

    def adapt(self, assignment: Assignment) -> None:
        """Adapt the inner quantiser."""
        self.inner.adapt(assignment)

    def _join(self, vectors: Float[Tensor, "b d gh w"]) -> Float[Tensor, "b gd h w"]:
        return rearrange(vectors, "b d (g h) w -> b (g d) h w", g=self.codes_per_latent)
