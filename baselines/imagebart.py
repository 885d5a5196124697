"""ImageBART (Esser et al. 2021): multinomial diffusion of codes, undone by transformers.

A forward chain x_0 .. x_T replaces ever more codes by uniform ones, x_t ~ Cat((1 - beta_t) x_{t-1}
+ beta_t / K), and x_0 are the codes of an image. Each reverse step p(x_{t-1} | x_t) is a
transformer of its own: a bidirectional encoder of x_t, and a decoder that predicts x_{t-1} code by
code and attends to what the encoder gives. The last x_T is pure noise, so the step from there is a
causal transformer alone.

The betas are the schedule that the published code names geometric, 1 / (T - t + 1) (Sohl-Dickstein
et al. 2015, section 2.4.1): each step erases the same part, 1 / T, of the codes of x_0.

Training draws one step of the chain per batch, as the published joint training does. So a training
step costs what one transformer costs, whatever T is, and each transformer is trained in one of T
steps. The others have no gradient then, which an optimiser skips: they rest, with their moments.

Departures. The published code remaps codes to those that occur in the training data; here K is the
size of the codebook, because a model is built without the data, so noise also has codes that no
image has. Encoder and decoder have equally many layers, and the last step as many as both (the
published models have 32 and 6, and 36). The learning rate is not annealed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.codes import HEAD, draw_codes, uniforms
from models.generation.interface import Shape

with warnings.catch_warnings():
    # The library calls torch.jit.script when it is imported.
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
    from x_transformers import Decoder, Encoder, TransformerWrapper


@dataclass(frozen=True)
class Chain:
    """The forward chain. steps: T. codebook_size: K. Times t are in [1, T]."""

    steps: int
    codebook_size: int

    def beta(self, time: int) -> float:
        """The part of the codes that step t replaces."""
        return 1 / (self.steps - time + 1)

    def kept(self, time: int) -> float:
        """The part of the codes of x_0 that none of the first t steps replaces; 1 at t = 0."""
        return math.prod((1 - self.beta(earlier) for earlier in range(1, time + 1)), start=1.0)

    def replace(
        self, codes: Int[Tensor, "b n"], part: float, stream: torch.Generator
    ) -> Int[Tensor, "b n"]:
        """Codes of which each is replaced, with a probability, by a uniform one."""
        replaced = torch.rand(codes.shape, generator=stream) < part
        others = torch.randint(0, self.codebook_size, codes.shape, generator=stream)
        return torch.where(replaced.to(codes.device), others.to(codes.device), codes)

    def posterior(
        self, first: Int[Tensor, "b n"], noisy: Int[Tensor, "b n"], time: int
    ) -> Float[Tensor, "b n k"]:
        """q(x_{t-1} | x_t, x_0), the product of what x_0 and x_t say of x_{t-1}, normalised
        (Hoogeboom et al. 2021, section 4).
        """
        product = self._mixed(first, self.kept(time - 1)) * self._mixed(noisy, 1 - self.beta(time))
        return product / product.sum(-1, keepdim=True)

    def _mixed(self, codes: Int[Tensor, "b n"], part: float) -> Float[Tensor, "b n k"]:
        """`part` times the codes, and the rest uniform."""
        return F.one_hot(codes, self.codebook_size) * part + (1 - part) / self.codebook_size


class ReverseStep(nn.Module):
    """The transformer of one reverse step, p(x_{t-1} | x_t), or p(x_{T-1}) of the last."""

    def __init__(self, codes: int, prefixes: int, places: int, width: int, layers: int, last: bool):
        """codes: K. prefixes: how many tokens there are beside codes, which begin a sequence.
        layers: of the encoder and of the decoder. last: whether there is no x_t to encode.
        """
        super().__init__()
        sizes = {"dim": width, "heads": width // HEAD, "attn_dim_head": HEAD, "attn_flash": True}
        self.encoder = None
        if not last:
            self.encoder = TransformerWrapper(
                num_tokens=codes + prefixes,
                max_seq_len=places + 1,
                attn_layers=Encoder(depth=layers, **sizes),
                return_only_embed=True,
            )
        depth = 2 * layers if last else layers
        self.decoder = TransformerWrapper(
            num_tokens=codes + prefixes,
            max_seq_len=places,
            attn_layers=Decoder(depth=depth, cross_attend=not last, **sizes),
            logits_dim=codes,
        )

    def forward(
        self,
        before: Int[Tensor, "b n"],
        noisy: Int[Tensor, "b n"],
        prefix: Int[Tensor, "b 1"],
    ) -> Float[Tensor, "b n k"]:
        """The logits of each code of x_{t-1}, which is `before`, given those ahead of it."""
        tokens = torch.cat([prefix, before[:, :-1]], 1)
        return self.decoder(tokens, context=self.encode(noisy, prefix))

    def encode(
        self, noisy: Int[Tensor, "b n"], prefix: Int[Tensor, "b 1"]
    ) -> Float[Tensor, "b m d"] | None:
        """What the decoder attends to, for the prefix and each code of x_t; None of the last."""
        return None if self.encoder is None else self.encoder(torch.cat([prefix, noisy], 1))

    def sample(
        self,
        noisy: Int[Tensor, "b n"],
        prefix: Int[Tensor, "b 1"],
        numbers: Float[Tensor, "b n"],
        temperature: float,
    ) -> Int[Tensor, "b n"]:
        """Draw x_{t-1} code by code. numbers: in [0, 1), one for each code."""
        context, tokens, cache = self.encode(noisy, prefix), prefix, None
        for place in range(numbers.shape[1]):
            # Keys and values of earlier tokens and of the encoder are in the cache.
            logits, cache = self.decoder(
                tokens, context=context, return_intermediates=True, cache=cache
            )
            code = draw_codes(logits[:, -1].float() / temperature, numbers[:, place])
            tokens = torch.cat([tokens, code.unsqueeze(1)], 1)
        return tokens[:, 1:]


class ImageBart(nn.Module):
    """The reverse chain. Sequences begin with the token of the class, or with one for all."""

    def __init__(
        self,
        codebook_size: int,
        shape: Shape,
        width: int,
        layers: int,
        scales: int,
        temperature: float,
        classes: int | None = None,
    ) -> None:
        """codebook_size: K. shape: (1, h, w). width: of the transformers, a multiple of 32. layers:
        see ReverseStep. scales: T. temperature: what the logits of a sample are divided by.
        classes: the number of labels; None for a model without classes.

        Raises ValueError for more than one code a place.
        """
        super().__init__()
        if shape[0] != 1:
            raise ValueError(f"shape: {shape[0]} codes a place; ImageBART models one")
        self.chain = Chain(scales, codebook_size)
        self.classes, self.temperature, self.places = classes, temperature, math.prod(shape)
        sizes = (codebook_size, classes or 1, self.places, width, layers)
        self.steps = nn.ModuleList(ReverseStep(*sizes, time == scales) for time in self.times)

    @property
    def times(self) -> range:
        """1 to T."""
        return range(1, self.chain.steps + 1)

    def forward(
        self,
        before: Int[Tensor, "b n"],
        noisy: Int[Tensor, "b n"],
        labels: Int[Tensor, " b"] | None,
        time: int,
    ) -> Float[Tensor, "b n k"]:
        """The logits of x_{t-1}, which is `before`, given x_t, which is `noisy`.

        Raises ValueError if a model without classes gets labels or one with classes gets none.
        """
        return self.steps[time - 1](before, noisy, self._prefix(before, labels))

    def loss(
        self,
        points: Float[Tensor, "b 1 h w"],
        labels: Int[Tensor, " b"] | None,
        stream: torch.Generator,
    ) -> Float[Tensor, ""]:
        """The divergence of one reverse step from the posterior, a term of the bound on -log p
        (section 3 of Esser et al.), in nats a code.

        The posterior, rather than the x_{t-1} that was drawn, is the target, as in the published
        joint training.
        """
        codes = rearrange(points.long(), "b 1 h w -> b (h w)")
        time = int(torch.randint(1, self.chain.steps + 1, (), generator=stream))
        before = self.chain.replace(codes, 1 - self.chain.kept(time - 1), stream)
        noisy = self.chain.replace(before, self.chain.beta(time), stream)
        found = self(before, noisy, labels, time).float().log_softmax(-1)
        target = self.chain.posterior(codes, noisy, time)
        return F.kl_div(found, target, reduction="none").sum(-1).mean()

    def sample(
        self,
        shape: Shape,
        labels: Int[Tensor, " b"] | None,
        streams: Sequence[torch.Generator],
        quick: bool = False,
    ) -> Float[Tensor, "b 1 h w"]:
        """Codes, from x_{T-1} to x_0. There is no quicker way."""
        numbers = uniforms((self.chain.steps, self.places), streams)
        numbers = numbers.to(next(self.parameters()).device)
        codes = torch.zeros(numbers.shape[::2], dtype=torch.long, device=numbers.device)
        prefix = self._prefix(codes, labels)
        for time in reversed(self.times):
            step: ReverseStep = self.steps[time - 1]  # type: ignore[assignment]
            codes = step.sample(codes, prefix, numbers[:, time - 1], self.temperature)
        return rearrange(codes, "b (c h w) -> b c h w", c=1, h=shape[1]).float()

    def _prefix(
        self, codes: Int[Tensor, "b n"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, "b 1"]:
        """The token that each sequence begins with, behind those of the codes."""
        if (labels is None) != (self.classes is None):
            raise ValueError("labels: needed by a model with classes, and refused by one without")
        first = self.chain.codebook_size
        return torch.full_like(codes[:, :1], first) if labels is None else labels[:, None] + first
