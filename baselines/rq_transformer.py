"""RQ-Transformer (Lee et al. 2022, section 3.2): a prior of the codes of an RQ-VAE.

The spatial transformer runs over places and reads the sum of the q codevectors of each place. A
smaller transformer runs over the q codes of a place. Its first input is the output of the spatial
transformer, and each further input is the sum of the codevectors so far.

Departures: training sees codes and no latents, so soft targets start from the sum of a place's
codevectors instead of its latent (see `soft_codes`). There is no dropout, the norm of gradients is
not clipped, and the learning rate does not fall. The published networks are larger.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
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

# The standard deviation of embeddings at the start, as in the published code.
DEVIATION = 0.02


def cumulative(vectors: Float[Tensor, "*places q d"]) -> Float[Tensor, "*places q d"]:
    """Return the sums of the first 1, ..., q codevectors of each place."""
    return vectors.cumsum(dim=-2)


def soft_codes(
    vectors: Float[Tensor, "*places d"],
    codebook: Float[Tensor, "k d"],
    temperature: float,
    uniform: Float[Tensor, "*places q"],
) -> tuple[Int[Tensor, "*places q"], Float[Tensor, "*places q k"]]:
    """Quantise at random: return q codes of each vector, and the distributions they are drawn from.

    A code is drawn from Q(k | r) proportional to exp(-|r - e_k|^2 / temperature), where r is the
    vector less the codevectors drawn before (section 3.2 of Lee et al., soft labelling and
    stochastic sampling). Lee et al. quantise latents. Here a vector is the sum of the codevectors
    of a latent, and lacks the residual that RQ-VAE leaves after the last code. The temperature is
    in units of squared latents, as published.
    """
    residual, codes, targets = vectors, [], []
    for number in uniform.unbind(dim=-1):
        # |r|^2 is the same for all k.
        logits = (2 * residual @ codebook.T - codebook.square().sum(dim=1)) / temperature
        code = draw(logits, number)
        residual = residual - codebook[code]
        codes.append(code)
        targets.append(logits.softmax(dim=-1))
    return torch.stack(codes, dim=-1), torch.stack(targets, dim=-2)


class ResidualTransformer(nn.Module):
    """p(codes) = product over places t and depths d of p(code d of t | earlier codes of t, sums of
    earlier places), given the class if there are any.
    """

    codebook: Tensor

    def __init__(
        self,
        codebook: Float[Tensor, "k d"],
        shape: Shape,
        width: int,
        layers: tuple[int, int],
        soft_temperature: float,
        temperature: float,
        top_k: int | None = None,
        classes: int | None = None,
    ) -> None:
        """codebook: of the first stage, kept with the model's weights. shape: of a point, (q, h,
        w). width: a multiple of 32. layers: over places, and over the codes of a place.
        soft_temperature: of `soft_codes` in training; 0 trains on the codes themselves.
        temperature: divides the logits of samples. top_k: samples are drawn among the k likeliest
        codes, or among all. classes: the number of labels, or None.
        """
        super().__init__()
        self.register_buffer("codebook", codebook.detach().clone())
        size, dim = codebook.shape
        depth, places = shape[0], math.prod(shape[1:])
        self.soft_temperature = soft_temperature
        self.temperature = temperature
        self.top_k = min(top_k or size, size)
        self.classes = classes
        self.starts = nn.Parameter(DEVIATION * torch.randn(classes or 1, width))
        self.positions = nn.Parameter(DEVIATION * torch.randn(places, width))
        self.depths = nn.Parameter(DEVIATION * torch.randn(depth, width))
        self.of_place = nn.Linear(dim, width)
        self.of_depth = nn.Linear(dim, width)
        self.spatial = x_transformers.Decoder(depth=layers[0], **heads_of(width))
        self.deep = x_transformers.Decoder(depth=layers[1], **heads_of(width))
        self.to_logits = nn.Linear(width, size)

    def forward(self, points: Points, labels: Labels = None) -> Float[Tensor, "b n k"]:
        """Return the logits of each code given the codes before it, n = h w q."""
        sums = self._sums(points)
        earlier_places = self.of_place(sums[:, :-1, -1])
        inputs = torch.cat([self._start(labels, len(points)), earlier_places], dim=1)
        places = self.spatial(inputs + self.positions)[:, :, None]
        deep_inputs = torch.cat([places, self.of_depth(sums[:, :, :-1])], dim=2) + self.depths
        hidden = self.deep(rearrange(deep_inputs, "b t q c -> (b t) q c"))
        return rearrange(self.to_logits(hidden), "(b t) q k -> b (t q) k", b=len(points))

    def loss(self, points: Points, labels: Labels, stream: torch.Generator) -> Scalar:
        """Return the mean cross-entropy of a code, with soft targets if their temperature is > 0.

        Soft targets come with codes that are drawn from them, which the model then reads.
        """
        targets = in_order(points)
        if self.soft_temperature > 0:
            points, targets = self._softened(points, stream)
        logits = self(points, labels).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1))

    def bits(self, points: Points, labels: Labels) -> Float[Tensor, " b"]:
        """Return -log2 p of each row's codes, exactly, at temperature 1 and among all codes."""
        return bits_of(self(points, labels), in_order(points))

    @torch.no_grad()
    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Draw codes one after the other, each by one uniform number of the row's stream.

        Keys and values of earlier codes are kept. quick: changes nothing.
        """
        q, h, w = shape
        numbers = uniforms((h * w * q,), streams).to(self.codebook.device)
        inputs, spatial_cache, codes = self._start(labels, len(streams)), None, []
        for place in range(h * w):
            deep_inputs, spatial_cache = self.spatial(
                inputs + self.positions[place], cache=spatial_cache, return_hiddens=True
            )
            deep_cache, total = None, torch.zeros_like(self.codebook[:1])
            for depth in range(q):
                hidden, deep_cache = self.deep(
                    deep_inputs + self.depths[depth], cache=deep_cache, return_hiddens=True
                )
                logits = self.to_logits(hidden)
                least = logits.topk(self.top_k).values[..., -1:]
                kept = logits.masked_fill(logits < least, -math.inf)
                code = draw(kept / self.temperature, numbers[:, [place * q + depth]])
                total = total + self.codebook[code]
                deep_inputs = self.of_depth(total)
                codes.append(code)
            inputs = self.of_place(total)
        return as_points(torch.cat(codes, dim=1), shape)

    def _sums(self, points: Tensor) -> Float[Tensor, "b t q d"]:
        return cumulative(self.codebook[rearrange(points.long(), "b q h w -> b (h w) q")])

    def _start(self, labels: Labels, count: int) -> Float[Tensor, "b 1 c"]:
        return self.starts[start_tokens(labels, self.classes, count, self.starts.device)]

    def _softened(self, points: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return newly drawn codes, as points, and their distributions (b, n, k)."""
        # Differences of squares need all digits of float32.
        with torch.autocast(points.device.type, enabled=False):
            vectors = self._sums(points)[:, :, -1]
            b, q, h, w = points.shape
            uniform = torch.rand(b, h * w, q, generator=stream, dtype=torch.float64)
            codes, targets = soft_codes(
                vectors, self.codebook, self.soft_temperature, uniform.to(points.device)
            )
        return as_points(codes.flatten(1), (q, h, w)), targets.flatten(1, 2)
