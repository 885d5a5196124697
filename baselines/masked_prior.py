"""MoVQ's prior (Zheng et al. 2022): a masked transformer of multichannel codes, after MaskGIT.

Training hides some places and predicts their codes from the other places. Sampling begins with all
places hidden, and in a few steps reveals the places that the transformer is surest of (Chang et al.
2022).

A token is a place with its q codes. The codes of a place are hidden or shown together, and the
transformer has an output for each of them, so a grid takes as many tokens as with one code a place.
The codes of one place are drawn independently of each other, given all places that are shown.

Departures. The embeddings of a place's codes are added, as BERT adds embeddings, so that the
transformer's width does not depend on q. Each channel group has its own embeddings, because one
code means different things in different groups. The confidence of a place is the mean over its
codes, so that the noise of `temperature` weighs as in MaskGIT, which has one code a place. There is
no dropout and no label smoothing (both 0.1 in MaskGIT): a model draws only from its streams, and
smoothing would add codes to samples that no image has. Norms come before the layers.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.codes import heads_of, uniforms, x_transformers
from models.generation.interface import Labels, Points, Scalar, Shape, Streams, check_labels
from models.quantiser.search import draw

QUICK_STEPS = 8


class MaskedPrior(nn.Module):
    """Predicts the codes of hidden places."""

    def __init__(
        self,
        codebook_size: int,
        shape: Shape,
        width: int,
        layers: int,
        sampling_steps: int,
        temperature: float,
        classes: int | None = None,
    ) -> None:
        """codebook_size: K. shape: (q, h, w). width: of the transformer, a multiple of 32.
        temperature: scales the noise that the first step of sampling adds to the confidence of a
        place. classes: the number of labels, or None.
        """
        super().__init__()
        self.codebook_size, self.groups, self.places = codebook_size, shape[0], math.prod(shape[1:])
        self.sampling_steps, self.temperature, self.classes = sampling_steps, temperature, classes
        # Code K of each group means "hidden".
        self.embedding = nn.Embedding(self.groups * (codebook_size + 1), width)
        nn.init.kaiming_normal_(self.embedding.weight)
        self.label = None if classes is None else nn.Embedding(classes, width)
        self.network = x_transformers.ContinuousTransformerWrapper(
            max_seq_len=self.places + (classes is not None),
            dim_out=self.groups * codebook_size,
            attn_layers=x_transformers.Encoder(depth=layers, **heads_of(width)),
        )

    def forward(
        self,
        codes: Int[Tensor, "b n q"],
        hidden: Bool[Tensor, "b n"],
        labels: Labels = None,
    ) -> Float[Tensor, "b n q k"]:
        """Return the logits of the codes of all places.

        codes: in [0, k); codes of hidden places are ignored. Raises ValueError as `check_labels`
        does.
        """
        check_labels(labels, self.classes)
        shown = codes.masked_fill(hidden.unsqueeze(-1), self.codebook_size)
        first = torch.arange(self.groups, device=codes.device) * (self.codebook_size + 1)
        tokens = self.embedding(shown + first).sum(-2)
        if self.label is not None:
            tokens = torch.cat([self.label(labels).unsqueeze(1), tokens], 1)
        logits = self.network(tokens)[:, -self.places :]
        return rearrange(logits, "b n (q k) -> b n q k", q=self.groups)

    def loss(self, points: Points, labels: Labels, stream: torch.Generator) -> Scalar:
        """Return the cross-entropy of the hidden codes (section 3.1 of Chang et al.)."""
        codes = rearrange(points.long(), "b q h w -> b (h w) q")
        hidden = draw_hidden(len(points), self.places, stream).to(points.device)
        logits = self(codes, hidden, labels)
        return F.cross_entropy(logits[hidden].flatten(0, 1).float(), codes[hidden].flatten())

    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Draw codes. Each step draws all hidden places and hides the least sure of them again.

        quick: takes at most 8 steps.
        """
        device = self.embedding.weight.device
        steps = min(QUICK_STEPS, self.sampling_steps) if quick else self.sampling_steps
        counts = still_hidden(self.places, steps)
        numbers = uniforms((len(counts), self.places, self.groups + 1), streams).to(device)
        codes = torch.zeros(len(streams), self.places, self.groups, dtype=torch.long, device=device)
        hidden = torch.ones(len(streams), self.places, dtype=torch.bool, device=device)
        for step, count in enumerate(counts):
            logits = self(codes, hidden, labels).float()
            drawn = draw(logits, numbers[:, step, :, :-1])
            codes = torch.where(hidden.unsqueeze(-1), drawn, codes)
            log_probabilities = logits.log_softmax(-1).gather(-1, codes.unsqueeze(-1))
            noise = gumbel(numbers[:, step, :, -1]) * self.temperature
            noise = noise * (1 - (step + 1) / len(counts))
            confidence = log_probabilities.flatten(2).mean(-1) + noise
            hidden = ranks(confidence.masked_fill(~hidden, math.inf)) < count
        return rearrange(codes, "b (h w) q -> b q h w", h=shape[1]).float()


def still_hidden(places: int, steps: int) -> list[int]:
    """Return how many of N places are hidden after each step t of T.

    The count is N cos(pi t / 2T), rounded down, and 0 after the last step (sections 3.2 and 3.3 of
    Chang et al.). Each step reveals at least one place, so there are at most N steps.
    """
    steps, counts = min(steps, places), [places]
    for step in range(1, steps):
        counts.append(min(counts[-1] - 1, int(places * math.cos(math.pi / 2 * step / steps))))
    return [*counts[1:], 0]


def draw_hidden(count: int, places: int, stream: torch.Generator) -> Bool[Tensor, "b n"]:
    """Draw the places that training hides, `count` rows of them.

    A row hides the part cos(pi r / 2) of its places, rounded up, with r uniform in [0, 1).
    """
    parts = torch.cos(torch.rand(count, 1, generator=stream) * (math.pi / 2))
    return ranks(torch.rand(count, places, generator=stream)) < (parts * places).ceil().clamp(min=1)


def ranks(numbers: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Return the rank of each number within its row, from 0; equal numbers are in some order."""
    return numbers.argsort(-1).argsort(-1)


def gumbel(numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Turn uniform numbers into numbers with a standard Gumbel distribution."""
    return -(-numbers.clamp(min=1e-20).log()).log()
