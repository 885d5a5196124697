"""The interfaces of generative models of stage 2, by which loops and steps use any of them.

A model learns the distribution of points, float32 (n, d, h, w): pixels in [-1, 1], latents of unit
variance, or codes with d codes a place, which float32 holds exactly up to 2^24.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

# The shape of a point, without the batch.
Shape = tuple[int, ...]
Points = Float[Tensor, "b d h w"]
# In [0, classes), or None for a model without classes.
Labels = Int[Tensor, " b"] | None
Scalar = Float[Tensor, ""]
Streams = Sequence[torch.Generator]


@runtime_checkable
class GenerativeModel(Protocol):
    """A module that learns how points are distributed, and samples them.

    The model is trained by its loss (`WithLoss`) or by a critic (`Critic`). All random numbers come
    from the given streams, so an interrupted training or sampling resumes with the same numbers.
    """

    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Return points (n, *shape), one from each stream, on the model's device.

        quick: asks a model with many sampling steps for fewer, for a look during training.
        """
        ...


@runtime_checkable
class WithLoss(GenerativeModel, Protocol):
    """A generative model that is trained by its own loss.

    Several processes share the rows of a batch, so the model must treat rows independently.
    """

    def loss(self, points: Points, labels: Labels, stream: torch.Generator) -> Scalar:
        """Return the loss of a batch, a scalar with a gradient. stream: on the processor."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """A generative model that knows the probability of points."""

    def bits(self, points: Points, labels: Labels) -> Float[Tensor, " b"]:
        """Return -log2 p of each row of points, (n,)."""
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
        """Train the critic on real points and on equally many of the model. step: from 1."""
        ...

    def judge(self, model: torch.nn.Module, count: int, stream: torch.Generator) -> Tensor:
        """Return the generator's loss on `count` points that the generator makes, a scalar."""
        ...


def check_labels(labels: Labels, classes: int | None) -> None:
    """Raise ValueError unless a model with classes has labels, and a model without has none."""
    if (labels is None) != (classes is None):
        raise ValueError("labels: needed by a model with classes, and refused by one without")


def draw_each(shape: Shape, streams: Streams) -> Tensor:
    """Draw normal numbers (n, *shape), one row from each stream."""
    return torch.stack([torch.randn(shape, generator=stream) for stream in streams])
