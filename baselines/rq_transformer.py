"""RQ-Transformer (Lee et al. 2022, section 3.2): a prior of the codes of an RQ-VAE.

A transformer over places reads of each place the sum of its q codevectors; a smaller one over the q
codes of a place reads what the first has said and the sum of the codevectors so far.

Departures: training sees codes and no latents, so soft targets start from the sum of a place's
codevectors instead of its latent (see `soft_codes`). There is no dropout, the norm of gradients is
not clipped, and the learning rate does not fall. The published nets are larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.autoregressive import (
    as_points,
    bits_of,
    causal_layers,
    in_order,
    start_tokens,
)
from models.generation.codes import draw_codes, uniforms
from models.generation.interface import Shape

# Deviation of embeddings at the start, as in the published code.
DEVIATION = 0.02


def cumulative(vectors: Float[Tensor, "*places q d"]) -> Float[Tensor, "*places q d"]:
    """The sums of the first 1, ..., q codevectors of each place."""
    return vectors.cumsum(dim=-2)


def soft_codes(
    vectors: Float[Tensor, "*places d"],
    codebook: Float[Tensor, "k d"],
    temperature: float,
    uniform: Float[Tensor, "*places q"],
) -> tuple[Int[Tensor, "*places q"], Float[Tensor, "*places q k"]]:
    """Quantise at random: q codes in turn, and the distributions that they are drawn from.

    A code is drawn from Q(k | r) proportional to exp(-|r - e_k|^2 / temperature), where r is what
    the codes drawn before leave of the vector (section 3.2 of Lee et al., soft labelling and
    stochastic sampling). They quantise latents. Here vectors are the sums of codevectors of the
    latents' codes, which lack what RQ-VAE leaves of the latents after the last code. The
    temperature is in units of squared latents, as published.
    """
    residual, codes, targets = vectors, [], []
    for number in uniform.unbind(dim=-1):
        # |r|^2 is the same for all k.
        logits = (2 * residual @ codebook.T - codebook.square().sum(dim=1)) / temperature
        code = draw_codes(logits, number)
        residual = residual - codebook[code]
        codes.append(code)
        targets.append(logits.softmax(dim=-1))
    return torch.stack(codes, dim=-1), torch.stack(targets, dim=-2)


class ResidualTransformer(nn.Module):
    """p(codes) = product over places t and depths d of p(code d of t | those of t before, sums of
    the places before), given the class if there are any.
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
        temperature: what the logits of a sample are divided by. top_k: samples have none but the k
        likeliest codes; None for all. classes: the number of labels; None for no classes.
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
        self.spatial = causal_layers(width, layers[0])
        self.deep = causal_layers(width, layers[1])
        self.to_logits = nn.Linear(width, size)

    def forward(
        self, points: Float[Tensor, "b q h w"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b n k"]:
        """Logits of each code given those before it, n = h w q. labels: in [0, classes)."""
        sums = cumulative(self._vectors(points))
        before = self.of_place(sums[:, :-1, -1])
        inputs = torch.cat([self._start(labels, len(points)), before], dim=1) + self.positions
        said = self.spatial(inputs)[:, :, None]
        deeper = torch.cat([said, self.of_depth(sums[:, :, :-1])], dim=2) + self.depths
        hidden = self.deep(rearrange(deeper, "b t q c -> (b t) q c"))
        return rearrange(self.to_logits(hidden), "(b t) q k -> b (t q) k", b=len(points))

    def loss(
        self,
        points: Float[Tensor, "b q h w"],
        labels: Int[Tensor, " b"] | None,
        stream: torch.Generator,
    ) -> Float[Tensor, ""]:
        """The mean cross-entropy of a code. Soft targets come with codes drawn from them."""
        targets = in_order(points)
        if self.soft_temperature > 0:
            points, targets = self._softened(points, stream)
        logits = self(points, labels).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1))

    def bits(
        self, points: Float[Tensor, "b q h w"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, " b"]:
        """-log2 p of each row's own codes, exactly, at temperature 1 and with all codes."""
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
        q, h, w = shape
        device = self.codebook.device
        uniform = uniforms((h * w * q,), streams).to(device)
        inputs, of_places, codes = self._start(labels, len(streams)), None, []
        for place in range(h * w):
            said, of_places = self.spatial(
                inputs + self.positions[place], cache=of_places, return_hiddens=True
            )
            deeper, of_depths = said, None
            total = torch.zeros_like(self.codebook[:1])
            for depth in range(q):
                hidden, of_depths = self.deep(
                    deeper + self.depths[depth], cache=of_depths, return_hiddens=True
                )
                code = self._drawn(self.to_logits(hidden), uniform[:, [place * q + depth]])
                total = total + self.codebook[code]
                deeper = self.of_depth(total)
                codes.append(code)
            inputs = self.of_place(total)
        return as_points(torch.cat(codes, dim=1), shape)

    def _vectors(self, points: Tensor) -> Float[Tensor, "b t q d"]:
        return self.codebook[rearrange(points.long(), "b q h w -> b (h w) q")]

    def _start(self, labels: Tensor | None, points: int) -> Float[Tensor, "b 1 c"]:
        return self.starts[start_tokens(labels, self.classes, points).to(self.starts.device)]

    def _softened(self, points: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Codes drawn anew, as points, and their distributions (b, n, k)."""
        # Differences of squares need all digits.
        with torch.autocast(points.device.type, enabled=False):
            sums = cumulative(self._vectors(points))[:, :, -1]
            b, q, h, w = points.shape
            uniform = torch.rand(b, h * w, q, generator=stream, dtype=torch.float64)
            about = (self.codebook, self.soft_temperature, uniform.to(points.device))
            codes, targets = soft_codes(sums, *about)
        return as_points(codes.flatten(1), (q, h, w)), targets.flatten(1, 2)

    def _drawn(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Codes (b, 1) among the likeliest."""
        least = logits.topk(self.top_k).values[..., -1:]
        kept = logits.masked_fill(logits < least, -math.inf)
        return draw_codes(kept / self.temperature, uniform)
