"""What priors share: drawing codes, a row of a batch from each stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.generation.interface import Shape

HEAD = 32  # numbers of an attention head


def uniforms(shape: Shape, streams: Sequence[torch.Generator]) -> Tensor:
    """Numbers in [0, 1), (n, *shape), in float64, a row from each stream."""
    rows = [torch.rand(shape, generator=stream, dtype=torch.float64) for stream in streams]
    return torch.stack(rows)


def draw_codes(
    logits: Float[Tensor, "*places k"], numbers: Float[Tensor, "*places"]
) -> Int[Tensor, "*places"]:
    """Codes in [0, k), each from its distribution. numbers: in [0, 1).

    A code is where the cumulative distribution passes its number.
    """
    # In float64, so that the sums of many small probabilities stay ordered.
    cumulative = logits.double().softmax(-1).cumsum(-1)
    codes = torch.searchsorted(cumulative, numbers.double().unsqueeze(-1).contiguous(), right=True)
    # Rounding may leave the last of `cumulative` below a number.
    return codes.squeeze(-1).clamp(max=logits.shape[-1] - 1)
