"""What every generative model of stage 2 gives, so that loop and steps need not know which.

Points are what is modelled, (n, d, h, w) in float32: pixels in [-1, 1], latents of unit variance,
or codes, d of each latent, which float32 holds exactly up to 2^24.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Shape = tuple[int, ...]


@runtime_checkable
class GenerativeModel(Protocol):
    """A module that learns how points are distributed, and samples them.

    What trains it is a loss of its own (`WithLoss`) or a critic (`Critic`). Everything is drawn
    from the streams that are given, so that an interrupted training or sampling goes on as if it
    had not been interrupted. labels: (n,), in [0, classes), or None for a model without classes.
    """

    def sample(
        self,
        shape: Shape,
        labels: Tensor | None,
        streams: Sequence[torch.Generator],
        quick: bool = False,
    ) -> Tensor:
        """Points (n, *shape), one a stream, on the model's device.

        quick: for a look during training; a model with many sampling steps then takes fewer.
        """
        ...


@runtime_checkable
class WithLoss(GenerativeModel, Protocol):
    """A generative model without an opponent.

    A call maps a batch to a batch, row by row, so that several processes can share the rows.
    """

    def loss(self, points: Tensor, labels: Tensor | None, stream: torch.Generator) -> Tensor:
        """The loss of a batch, a scalar with a gradient. stream: of the processor."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """A generative model that can say how likely points are."""

    def bits(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """-log2 p of each row of points, (n,)."""
        ...


@runtime_checkable
class Critic(Protocol):
    """The opponent of a generative adversarial network, with its own optimiser.

    A training step calls `learn`, then takes the gradient of `judge` for the generator.
    """

    optimiser: torch.optim.Optimizer

    def learn(
        self, model: torch.nn.Module, points: Tensor, stream: torch.Generator, step: int
    ) -> None:
        """Train the critic on real points and on as many of the model's. step: from 1."""
        ...

    def judge(self, model: torch.nn.Module, count: int, stream: torch.Generator) -> Tensor:
        """The generator's loss on `count` of its own points, a scalar."""
        ...


def draw_each(shape: Shape, streams: Sequence[torch.Generator]) -> Tensor:
    """Normal numbers (n, *shape), a row from each stream."""
    return torch.stack([torch.randn(shape, generator=stream) for stream in streams])
