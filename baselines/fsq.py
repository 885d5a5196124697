"""Finite scalar quantisation (FSQ, Mentzer et al. 2023), by vector-quantize-pytorch (MIT licence).

The library departs from appendix A.1 of the paper in two points. The bound is (1 + eps) instead of
(1 - eps) times (L - 1) / 2, with eps = 0.001, and the shift of even levels uses atanh instead of
tan. A latent near the border between two codes may therefore receive the other code.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from models.quantiser.interface import Assignment, Quantised, rows, straight_through


class FiniteScalarQuantiser(nn.Module):
    """Each coordinate is bounded by tanh and rounded to one of its levels.

    A coordinate of L levels becomes round((L - 1) / 2 tanh(z)) / floor(L / 2), in [-1, 1], with the
    bound and the shift that the module docstring describes. Gradients pass straight through the
    rounding, and through the tanh as usual. K is the product of the levels and D is their number.
    There is no codebook to train, and there are no losses.
    """

    def __init__(self, levels: list[int]) -> None:
        """levels: L of each coordinate."""
        super().__init__()
        self.inner = FSQ(levels)
        self.codebook_size = self.inner.codebook_size
        self.codes_per_latent = 1
        self.code_dim = len(levels)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        rounded, codes = (batch[0] for batch in self.inner(rows(latents)[None]))
        codes = codes.long()
        # These are the values that `decode` returns, bit for bit.
        vectors = straight_through(rounded, self.inner.indices_to_codes(codes))
        return Quantised.of_rows(latents, vectors, codes, {})

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the points of the grid that `codes` stand for."""
        return self.inner.indices_to_codes(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing, because there is nothing to train."""
