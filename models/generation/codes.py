"""Functions that all priors share: start tokens, settings of transformers, uniform numbers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.generation.interface import Labels, Points, Shape, Streams, check_labels

with warnings.catch_warnings():
    # A library that x_transformers imports uses torch.jit.script, which torch calls deprecated.
    warnings.simplefilter("ignore")
    import x_transformers

# Priors import the library from here, without its warning.
__all__ = ["x_transformers"]
HEAD_WIDTH = 32


def heads_of(width: int) -> dict[str, Any]:
    """Return the settings of attention layers of this width, a multiple of 32.

    There is no dropout, because dropout would draw from the global generator.
    """
    heads = width // HEAD_WIDTH
    return {"dim": width, "heads": heads, "attn_dim_head": HEAD_WIDTH, "attn_flash": True}


def in_order(points: Points) -> Int[Tensor, "b n"]:
    """Return codes in the order in which they are predicted, n = h w q.

    Places are in raster order, and the q codes of a place stay together.
    """
    return rearrange(points.long(), "b q h w -> b (h w q)")


def as_points(codes: Int[Tensor, "b n"], shape: Shape) -> Points:
    """Invert `in_order`. shape: (q, h, w)."""
    q, h, w = shape
    return rearrange(codes.float(), "b (h w q) -> b q h w", q=q, h=h, w=w)


def start_tokens(
    labels: Labels, classes: int | None, count: int, device: torch.device
) -> Int[Tensor, "b 1"]:
    """Return the first token of `count` sequences: the label, or 0 in a model without classes.

    Raises ValueError as `check_labels` does.
    """
    check_labels(labels, classes)
    tokens = torch.zeros(count, 1, dtype=torch.long) if labels is None else labels[:, None].long()
    return tokens.to(device)


def bits_of(logits: Float[Tensor, "b n k"], codes: Int[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Return -log2 of the probability that the logits give each row of codes."""
    nats = F.cross_entropy(rearrange(logits.double(), "b n k -> b k n"), codes, reduction="none")
    return nats.sum(dim=1) / math.log(2)


def uniforms(shape: Shape, streams: Streams) -> Tensor:
    """Draw uniform numbers in [0, 1), float64 (n, *shape), one row from each stream."""
    rows = [torch.rand(shape, generator=stream, dtype=torch.float64) for stream in streams]
    return torch.stack(rows)
