"""Assignment to the nearest codevector with its two losses, in one pass over the latents.

Composed of torch's functions the same numbers take a dozen passes over memory as large as the
latents, and as many again backward. Here each chunk of latents is compared, assigned, subtracted
and summed while it is in cache, and what the gradients need is left ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.quantiser.distances import Similarity, chunks
from models.quantiser.selection import argmax


@dataclass(frozen=True)
class Nearest:
    """vectors: forward the chosen codevectors, backward to the latents with a gradient of one.

    codes: indices in [0, K). commitment: mean (z - sg(e))^2. codebook: mean (e - sg(z))^2.
    """

    vectors: Float[Tensor, "n d"]
    codes: Int[Tensor, " n"]
    commitment: Float[Tensor, ""]
    codebook: Float[Tensor, ""]


def quantise(
    latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"], similarity: Similarity
) -> Nearest:
    """Give each latent its most similar codevector; first derivatives only."""
    vectors, codes, commitment, codebook = _Quantise.apply(latents, codevectors, similarity)
    return Nearest(vectors, codes, commitment, codebook)


class _Quantise(torch.autograd.Function):
    """With d = z - e over N x D numbers: both losses are mean d^2.

    Gradients: 2 d / ND to the latents, -2 / ND times the sum of a code's d to its codevector.
    """

    @staticmethod
    def forward(ctx: Any, latents: Tensor, codevectors: Tensor, similarity: Similarity) -> Any:
        chosen, difference = torch.empty_like(latents), torch.empty_like(latents)
        codes = torch.empty(len(latents), dtype=torch.long, device=latents.device)
        sums = torch.zeros_like(codevectors)
        total = latents.new_zeros(())
        prepared = similarity.prepare(codevectors)
        for rows in chunks(latents, len(codevectors)):
            part, apart = latents[rows], difference[rows]
            found = argmax(similarity.compare(similarity.prepare(part), prepared))
            codes[rows] = found
            torch.index_select(codevectors, 0, found, out=chosen[rows])
            torch.sub(part, chosen[rows], out=apart)
            total += torch.dot(apart.view(-1), apart.view(-1))
            sums.index_add_(0, found, apart)
        ctx.save_for_backward(difference, sums)
        ctx.mark_non_differentiable(codes)
        mean = total / latents.numel()
        return chosen, codes, mean, mean.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, vectors: Tensor, _: Any, commitment: Tensor, codebook: Tensor) -> Any:
        difference, sums = ctx.saved_tensors
        scale = 2 / difference.numel()
        return (
            torch.addcmul(vectors, difference, commitment * scale),
            sums * (codebook * -scale),
            None,
        )
