"""ImageBART (Esser et al. 2021): multinomial diffusion of codes, undone by transformers.

A forward chain x_0 .. x_T replaces ever more codes by uniform codes, x_t ~ Cat((1 - beta_t) x_{t-1}
+ beta_t / K), where x_0 are the codes of an image. Each reverse step p(x_{t-1} | x_t) has its own
transformer: a bidirectional encoder reads x_t, and a decoder predicts x_{t-1} code by code and
attends to the output of the encoder. x_T is pure noise, so the step from x_T is a causal
transformer without an encoder.

The betas are the schedule that the published code names geometric, 1 / (T - t + 1) (Sohl-Dickstein
et al. 2015, section 2.4.1): each step erases the same part, 1 / T, of the codes of x_0.

Training draws one step of the chain per batch, as the published joint training does. A training
step therefore costs as much as one transformer, whatever T is, and each transformer is trained in
one of T steps. The optimiser skips the other transformers with their moments, because they have no
gradient.

Departures. The published code remaps codes to those that occur in the training data. Here K is the
size of the codebook, because a model is built without the data, so noise also contains codes that
no image has. Encoder and decoder have equally many layers, and the last step has as many as both
(the published models have 32 and 6, and 36). The learning rate is not annealed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.codes import (
    as_points,
    heads_of,
    in_order,
    start_tokens,
    uniforms,
    x_transformers,
)
from models.generation.interface import Labels, Points, Scalar, Shape, Streams
from models.quantiser.search import draw


@dataclass(frozen=True)
class Chain:
    """The forward chain. steps: T. codebook_size: K. Times t are in [1, T]."""

    steps: int
    codebook_size: int

    def beta(self, time: int) -> float:
        """Return the part of the codes that step t replaces."""
        return 1 / (self.steps - time + 1)

    def kept(self, time: int) -> float:
        """Return the part of the codes of x_0 that the first t steps keep; 1 at t = 0."""
        return math.prod((1 - self.beta(earlier) for earlier in range(1, time + 1)), start=1.0)

    def replace(
        self, codes: Int[Tensor, "b n"], probability: float, stream: torch.Generator
    ) -> Int[Tensor, "b n"]:
        """Replace each code with this probability by a uniform code."""
        replaced = torch.rand(codes.shape, generator=stream) < probability
        uniform = torch.randint(0, self.codebook_size, codes.shape, generator=stream)
        return torch.where(replaced.to(codes.device), uniform.to(codes.device), codes)

    def posterior(
        self, first: Int[Tensor, "b n"], noisy: Int[Tensor, "b n"], time: int
    ) -> Float[Tensor, "b n k"]:
        """Return q(x_{t-1} | x_t, x_0), where x_0 is `first` and x_t is `noisy`.

        The posterior is the normalised product of q(x_{t-1} | x_0) and q(x_t | x_{t-1})
        (Hoogeboom et al. 2021, section 4).
        """
        product = self._mixed(first, self.kept(time - 1)) * self._mixed(noisy, 1 - self.beta(time))
        return product / product.sum(-1, keepdim=True)

    def _mixed(self, codes: Int[Tensor, "b n"], part: float) -> Float[Tensor, "b n k"]:
        """Return distributions with `part` of the mass on the codes and the rest uniform."""
        return F.one_hot(codes, self.codebook_size) * part + (1 - part) / self.codebook_size


class ReverseStep(nn.Module):
    """The transformer of one reverse step: p(x_{t-1} | x_t), or p(x_{T-1}) for the last step."""

    def __init__(self, codes: int, classes: int, places: int, width: int, layers: int, last: bool):
        """codes: K. classes: the number of start tokens. layers: of the encoder and of the decoder.
        last: whether this is the step from x_T, which has no encoder.
        """
        super().__init__()
        tokens, heads = codes + classes, heads_of(width)
        self.encoder = None
        if not last:
            self.encoder = x_transformers.TransformerWrapper(
                num_tokens=tokens,
                max_seq_len=places + 1,
                attn_layers=x_transformers.Encoder(depth=layers, **heads),
                return_only_embed=True,
            )
        depth = 2 * layers if last else layers
        self.decoder = x_transformers.TransformerWrapper(
            num_tokens=tokens,
            max_seq_len=places,
            attn_layers=x_transformers.Decoder(depth=depth, cross_attend=not last, **heads),
            logits_dim=codes,
        )

    def forward(
        self,
        before: Int[Tensor, "b n"],
        noisy: Int[Tensor, "b n"],
        start: Int[Tensor, "b 1"],
    ) -> Float[Tensor, "b n k"]:
        """Return the logits of each code of x_{t-1}, given the codes of x_{t-1} ahead of it.

        before: x_{t-1}. noisy: x_t. start: the first token of each sequence.
        """
        tokens = torch.cat([start, before[:, :-1]], 1)
        return self.decoder(tokens, context=self.encode(noisy, start))

    def encode(
        self, noisy: Int[Tensor, "b n"], start: Int[Tensor, "b 1"]
    ) -> Float[Tensor, "b m d"] | None:
        """Return the encoder's output for the start token and each code of x_t; None in the last
        step.
        """
        return None if self.encoder is None else self.encoder(torch.cat([start, noisy], 1))

    def sample(
        self,
        noisy: Int[Tensor, "b n"],
        start: Int[Tensor, "b 1"],
        numbers: Float[Tensor, "b n"],
        temperature: float,
    ) -> Int[Tensor, "b n"]:
        """Draw x_{t-1} code by code. numbers: in [0, 1), one for each code."""
        context, tokens, cache = self.encode(noisy, start), start, None
        for place in range(numbers.shape[1]):
            # The cache holds keys and values of earlier tokens and of the encoder.
            logits, cache = self.decoder(
                tokens, context=context, return_intermediates=True, cache=cache
            )
            code = draw(logits[:, -1].float() / temperature, numbers[:, place])
            tokens = torch.cat([tokens, code.unsqueeze(1)], 1)
        return tokens[:, 1:]


class ImageBart(nn.Module):
    """The reverse chain. Each sequence begins with the start token of its class."""

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
        see ReverseStep. scales: T. temperature: divides the logits of samples. classes: the number
        of labels, or None. Raises ValueError for more than one code a place.
        """
        super().__init__()
        if shape[0] != 1:
            raise ValueError(f"shape: {shape[0]} codes a place; ImageBART models one")
        self.chain = Chain(scales, codebook_size)
        self.classes, self.temperature, self.places = classes, temperature, math.prod(shape)
        sizes = (codebook_size, classes or 1, self.places, width, layers)
        self.steps = nn.ModuleList(
            ReverseStep(*sizes, last=time == scales) for time in range(1, scales + 1)
        )

    def forward(
        self,
        before: Int[Tensor, "b n"],
        noisy: Int[Tensor, "b n"],
        labels: Labels,
        time: int,
    ) -> Float[Tensor, "b n k"]:
        """Return the logits of x_{t-1}, which is `before`, given x_t, which is `noisy`."""
        return self.steps[time - 1](before, noisy, self._start(before, labels))

    def loss(self, points: Points, labels: Labels, stream: torch.Generator) -> Scalar:
        """Return the divergence of one reverse step from the posterior, a term of the bound on
        -log p (section 3 of Esser et al.), in nats a code.

        The target is the posterior and not the x_{t-1} that was drawn, as in the published joint
        training.
        """
        codes = in_order(points)
        time = int(torch.randint(1, self.chain.steps + 1, (), generator=stream))
        before = self.chain.replace(codes, 1 - self.chain.kept(time - 1), stream)
        noisy = self.chain.replace(before, self.chain.beta(time), stream)
        predicted = self(before, noisy, labels, time).float().log_softmax(-1)
        target = self.chain.posterior(codes, noisy, time)
        return F.kl_div(predicted, target, reduction="none").sum(-1).mean()

    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Draw codes, from x_{T-1} to x_0. quick: changes nothing."""
        numbers = uniforms((self.chain.steps, self.places), streams)
        numbers = numbers.to(next(self.parameters()).device)
        codes = torch.zeros(numbers.shape[::2], dtype=torch.long, device=numbers.device)
        start = self._start(codes, labels)
        for time in range(self.chain.steps, 0, -1):
            step: ReverseStep = self.steps[time - 1]  # type: ignore[assignment]
            codes = step.sample(codes, start, numbers[:, time - 1], self.temperature)
        return as_points(codes, shape)

    def _start(self, codes: Int[Tensor, "b n"], labels: Labels) -> Int[Tensor, "b 1"]:
        """Return the start tokens, which come after the K tokens of codes."""
        tokens = start_tokens(labels, self.classes, len(codes), codes.device)
        return self.chain.codebook_size + tokens
