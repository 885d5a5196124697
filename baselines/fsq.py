"""Finite scalar quantisation (FSQ, Mentzer et al. 2023), by vector-quantize-pytorch.

The library departs from the paper's Appendix A.1: the bound is (1 + eps) instead of (1 - eps) times
(L - 1) / 2, with eps = 0.001, and the shift of even levels uses atanh instead of tan. A latent near
the border of two codes may therefore receive the other one.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from models.quantiser.interface import Assignment, Quantised, straight_through


class FiniteScalarQuantiser(nn.Module):
    """Every coordinate is bounded by tanh and rounded to one of its levels.

    A coordinate of L levels becomes round(bounded) / floor(L / 2), in [-1, 1]; gradients pass
    straight through the rounding, and through the tanh. K is the product of the levels, D their
    number. There is no codebook to train, and there are no losses.
    """

    def __init__(self, levels: list[int]) -> None:
        """levels: L of each coordinate."""
        super().__init__()
        self.inner = FSQ(levels)
        self.codebook_size = self.inner.codebook_size
        self.codes_per_latent = 1
        self.code_dim = len(levels)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        b, _, h, _ = latents.shape
        flat = rearrange(latents, "b d h w -> (b h w) d")
        rounded, codes = (found[0] for found in self.inner(flat[None]))
        grid = rearrange(codes.long(), "(b h w) -> b h w", b=b, h=h)
        passed = rearrange(rounded, "(b h w) d -> b d h w", b=b, h=h)
        return Quantised(
            vectors=straight_through(passed, self.decode(grid)),
            codes=grid,
            losses={},
            assignment=Assignment(flat.detach(), codes.long()),
        )

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The points of `codes`."""
        return self.inner.indices_to_codes(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""
