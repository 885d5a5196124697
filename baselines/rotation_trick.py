"""The rotation trick (Fifty et al. 2024, section 4.2), by vector-quantize-pytorch (MIT licence).

Departure: for a latent of length 0 the library divides by a small number instead of by 0.
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
    """A wrapper of a quantiser that rotates and rescales the gradient to the encoder.

    Forward, a latent z becomes its codevector e, as in the inner quantiser. Backward, the gradient
    passes through sg(|e| / |z| R) z, where R rotates z onto the direction of e, instead of straight
    to z. Codes, losses and `adapt` are those of the inner quantiser.
    """

    def __init__(self, inner: Any) -> None:
        """inner: a quantiser."""
        super().__init__()
        self.inner = inner
        self.codebook_size = inner.codebook_size
        self.codes_per_latent = inner.codes_per_latent
        self.code_dim = inner.code_dim

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        quantised = self.inner(latents)
        e = quantised.vectors.detach()
        pair = (rearrange(grid, "b d h w -> b h w d") for grid in (latents, e))
        rotated = rearrange(rotate_to(*pair), "b h w d -> b d h w")
        return replace(quantised, vectors=straight_through(rotated, e))

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return self.inner.decode(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Adapt the inner quantiser."""
        self.inner.adapt(assignment)
