"""Finite scalar quantisation (FSQ, Mentzer et al. 2023), by vector-quantize-pytorch (MIT licence).

The library departs from appendix A.1 of the paper in two points. The bound is (1 + eps) instead of
(1 - eps) times (L - 1) / 2, with eps = 0.001, and the shift of even levels uses atanh instead of
tan. A latent near the border between two codes may therefore receive the other code.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from vector_quantize_pytorch import FSQ

from models.quantiser.interface import Outcome, SingleCodeQuantiser, straight_through


class FiniteScalarQuantiser(SingleCodeQuantiser):
    """Each coordinate is bounded by tanh and rounded to one of its levels.

    A coordinate of L levels becomes round((L - 1) / 2 tanh(z)) / floor(L / 2), in [-1, 1], with the
    bound and the shift that the module docstring describes. Gradients pass straight through the
    rounding, and through the tanh as usual. K is the product of the levels and D is their number.
    There is no codebook to train, and there are no losses.
    """

    def __init__(self, levels: list[int]) -> None:
        """levels: L of each coordinate."""
        inner = FSQ(levels)
        super().__init__(inner.codebook_size, len(levels))
        self.inner = inner

    def _quantise(self, z: Float[Tensor, "n d"]) -> Outcome:
        rounded, codes = (batch[0] for batch in self.inner(z[None]))
        codes = codes.long()
        # These are the values that `decode` returns, bit for bit.
        return straight_through(rounded, self.inner.indices_to_codes(codes)), codes, {}

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the points of the grid that `codes` stand for."""
        return self.inner.indices_to_codes(codes)
