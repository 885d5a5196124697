"""An autoregressive prior: a plain causal transformer over the codes of any first stage.

The prior is an instrument of this benchmark and not a published model. The same network is trained
on the codes of each codebook, so that only the codes differ. Each code is predicted from all codes
before it, in the order of `in_order`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.codes import (
    as_points,
    bits_of,
    heads_of,
    in_order,
    start_tokens,
    uniforms,
    x_transformers,
)
from models.generation.interface import Labels, Points, Scalar, Shape, Streams
from models.quantiser.search import draw


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
        divides the logits of samples. classes: the number of labels, or None.
        """
        super().__init__()
        self.codebook_size = codebook_size
        self.temperature = temperature
        self.classes = classes
        # The tokens are K codes, then a start token for each class.
        self.network = x_transformers.TransformerWrapper(
            num_tokens=codebook_size + (classes or 1),
            max_seq_len=math.prod(shape),
            attn_layers=x_transformers.Decoder(depth=layers, **heads_of(width)),
            logits_dim=codebook_size,
        )

    def forward(self, points: Points, labels: Labels = None) -> Float[Tensor, "b n k"]:
        """Return the logits of each code given the codes before it, n = h w q."""
        before = in_order(points)[:, :-1]
        return self.network(torch.cat([self._start(labels, len(points)), before], dim=1))

    def loss(self, points: Points, labels: Labels, stream: torch.Generator) -> Scalar:
        """Return the mean of -ln p of a code. Nothing is drawn."""
        logits = self(points, labels).float()
        return F.cross_entropy(logits.flatten(0, 1), in_order(points).flatten())

    def bits(self, points: Points, labels: Labels) -> Float[Tensor, " b"]:
        """Return -log2 p of each row, exactly, at temperature 1."""
        return bits_of(self(points, labels), in_order(points))

    @torch.no_grad()
    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Draw codes one after the other, each by one uniform number of the row's stream.

        Keys and values of earlier codes are kept. quick: changes nothing.
        """
        token = self._start(labels, len(streams))
        numbers = uniforms((math.prod(shape),), streams).to(token.device)
        cache, codes = None, []
        for number in numbers.unbind(dim=1):
            logits, cache = self.network(
                token, cache=cache, return_intermediates=True, input_not_include_cache=True
            )
            token = draw(logits / self.temperature, number[:, None])
            codes.append(token)
        return as_points(torch.cat(codes, dim=1), shape)

    def _start(self, labels: Labels, count: int) -> Tensor:
        device = next(self.parameters()).device
        return self.codebook_size + start_tokens(labels, self.classes, count, device)
