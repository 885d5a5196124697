"""Random streams: every random draw of a run is determined by a seed, a purpose and a step."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

import numpy as np
import torch

Built = TypeVar("Built")


class Purpose(IntEnum):
    """The uses of random numbers. Every result depends on the values: append, never renumber."""

    ENCODER = 1
    DECODER = 2
    QUANTISER = 3
    CRITIC = 4
    BACKBONE = 5
    # The order of training images; the step is the epoch.
    ORDER = 6
    # Draws of a quantiser in training, such as anchors, noise and restarted codevectors.
    CODES = 7
    # Draws of a generative model in training, such as noise, times and masks.
    GENERATION = 8
    # All noise of one sample; the step is the number of the sample.
    SAMPLE = 9
    # Noise that is decoded without any training, for comparison.
    UNTRAINED = 10


def word(seed: int, purpose: Purpose, step: int = 0) -> int:
    """Return a 64-bit number, practically unique for seed, purpose and step; a sum is not.

    The generators of processors use only its low 32 bits.
    """
    return int(np.random.SeedSequence([seed, purpose, step]).generate_state(1, np.uint64)[0])


def generator(
    seed: int, purpose: Purpose, step: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a generator that depends on its arguments alone, so a resumed run draws the same."""
    return torch.Generator(device).manual_seed(word(seed, purpose, step))


def drawn(build: Callable[[], Built], seed: int, purpose: Purpose) -> Built:
    """Return what `build` makes, with weights that depend on the seed and the purpose alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(word(seed, purpose))
        return build()
