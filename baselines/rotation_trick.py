"""The rotation trick (Fifty et al. 2024, section 4.2), by vector-quantize-pytorch.

Departure: at a latent of length 0 the library divides by a small number instead of by 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from models.quantiser.interface import Assignment, Quantised, straight_through


class RotatedQuantiser(nn.Module):
    """The inner quantiser, through which gradients reach the encoder rotated and rescaled.

    Forward, a latent z becomes its codevector e. Backward, the gradient passes through
    sg(|e| / |z| R) z, where R rotates z onto e, instead of straight to z. Codes, losses and what
    `adapt` does are the inner quantiser's.
    """

    def __init__(self, inner: Any) -> None:
        """inner: a quantiser."""
        super().__init__()
        self.inner = inner
        self.codebook_size = inner.codebook_size
        self.codes_per_latent = inner.codes_per_latent
        self.code_dim = inner.code_dim

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        found = self.inner(latents)
        e = found.vectors.detach()
        rows = (rearrange(x, "b d h w -> b h w d") for x in (latents, e))
        rotated = rearrange(rotate_to(*rows), "b h w d -> b d h w")
        return replace(found, vectors=straight_through(rotated, e))

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return self.inner.decode(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Adapt the inner quantiser."""
        self.inner.adapt(assignment)
