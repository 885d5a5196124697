"""An autoregressive prior: a plain causal transformer over the codes of any first stage.

This is the benchmark's own instrument, not a published model: the same network is trained on the
codes of each codebook, so that only the codes differ. Each code is predicted from all codes before
it. The order of codes is that of places in raster order, and within a place that of its q codes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.codes import HEAD, draw_codes, uniforms
from models.generation.interface import Shape

with warnings.catch_warnings():
    # A library of x_transformers uses torch.jit.script, which torch calls deprecated.
    warnings.simplefilter("ignore")
    from x_transformers import Decoder, TransformerWrapper


def causal_layers(width: int, layers: int) -> nn.Module:
    """Causal self-attention in heads of 32 numbers and feed-forward layers, normalised before each
    and at the end; without dropout, which would draw from the global generator.
    """
    return Decoder(
        dim=width, depth=layers, heads=width // HEAD, attn_dim_head=HEAD, attn_flash=True
    )


def in_order(points: Float[Tensor, "b q h w"]) -> Int[Tensor, "b n"]:
    """Codes in the order in which they are predicted, n = h w q."""
    return rearrange(points.long(), "b q h w -> b (h w q)")


def as_points(codes: Int[Tensor, "b n"], shape: Shape) -> Float[Tensor, "b q h w"]:
    """The inverse of `in_order`. shape: (q, h, w)."""
    q, h, w = shape
    return rearrange(codes.float(), "b (h w q) -> b q h w", q=q, h=h, w=w)


def start_tokens(
    labels: Int[Tensor, " b"] | None, classes: int | None, points: int
) -> Int[Tensor, "b 1"]:
    """What a sequence starts with: the label of each of so many points, or 0 without classes.

    Raises ValueError if a model without classes gets labels or one with classes gets none.
    """
    if (labels is None) != (classes is None):
        raise ValueError("labels: needed by a model with classes, and refused by one without")
    return torch.zeros(points, 1, dtype=torch.long) if labels is None else labels[:, None].long()


def bits_of(logits: Float[Tensor, "b n k"], codes: Int[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """-log2 of the probability that the logits give each row of codes."""
    nats = F.cross_entropy(rearrange(logits.double(), "b n k -> b k n"), codes, reduction="none")
    return nats.sum(dim=1) / math.log(2)


class AutoregressivePrior(nn.Module):
    """p(codes) = product over i of p(code i | codes before i), given the class if there are any."""

    def __init__(
        self,
        codebook_size: int,
        shape: Shape,
        width: int,
        layers: int,
        temperature: float,
        classes: int | None = None,
    ) -> None:
        """codebook_size: K. shape: of a point, (q, h, w). width: a multiple of 32. temperature:
        what the logits of a sample are divided by. classes: the number of labels; None for a model
        without classes.
        """
        super().__init__()
        self.codebook_size = codebook_size
        self.temperature = temperature
        self.classes = classes
        # Tokens: K codes, then a start token for each class. Tokens and positions are learned.
        self.network = TransformerWrapper(
            num_tokens=codebook_size + (classes or 1),
            max_seq_len=math.prod(shape),
            attn_layers=causal_layers(width, layers),
            logits_dim=codebook_size,
        )

    def forward(
        self, points: Float[Tensor, "b q h w"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b n k"]:
        """Logits of each code given those before it, n = h w q. labels: in [0, classes)."""
        before = in_order(points)[:, :-1]
        return self.network(torch.cat([self._start(labels, len(points)), before], dim=1))

    def loss(
        self,
        points: Float[Tensor, "b q h w"],
        labels: Int[Tensor, " b"] | None,
        stream: torch.Generator,
    ) -> Float[Tensor, ""]:
        """The mean of -ln p of a code. Nothing is drawn."""
        logits = self(points, labels).float()
        return F.cross_entropy(logits.flatten(0, 1), in_order(points).flatten())

    def bits(
        self, points: Float[Tensor, "b q h w"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, " b"]:
        """-log2 p of each row, exactly, at temperature 1."""
        return bits_of(self(points, labels), in_order(points))

    @torch.no_grad()
    def sample(
        self,
        shape: Shape,
        labels: Int[Tensor, " b"] | None,
        streams: Sequence[torch.Generator],
        quick: bool = False,
    ) -> Float[Tensor, "b q h w"]:
        """Codes, one after the other; keys and values of those before are kept, not computed again.

        A row takes h w q uniform numbers from its stream. quick: changes nothing.
        """
        token = self._start(labels, len(streams))
        uniform = uniforms((math.prod(shape),), streams).to(token.device)
        cache, codes = None, []
        for number in uniform.unbind(dim=1):
            logits, cache = self.network(
                token, cache=cache, return_intermediates=True, input_not_include_cache=True
            )
            token = draw_codes(logits / self.temperature, number[:, None])
            codes.append(token)
        return as_points(torch.cat(codes, dim=1), shape)

    def _start(self, labels: Tensor | None, points: int) -> Tensor:
        device = next(self.parameters()).device
        return self.codebook_size + start_tokens(labels, self.classes, points).to(device)
