"""Random streams: every draw of a run comes from its seed, a purpose and a step."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

import numpy as np
import torch

Built = TypeVar("Built")


class Purpose(IntEnum):
    """The uses of random numbers. The values are part of every result: append, never renumber."""

    ENCODER = 1
    DECODER = 2
    QUANTISER = 3
    CRITIC = 4
    BACKBONE = 5
    # The order of images; the step is the epoch.
    ORDER = 6
    # Draws of a quantiser in training: anchors, noise, restarted codevectors.
    CODES = 7
    # What a step of a generative model draws: noise, times, what is masked.
    GENERATION = 8
    # All noise of one sample; the step is the number of the sample.
    SAMPLE = 9
    # Noise that is decoded without any training, for comparison.
    UNTRAINED = 10


def word(seed: int, purpose: Purpose, step: int = 0) -> int:
    """A 64-bit number, practically unique for seed, purpose and step; their sum would not be."""
    return int(np.random.SeedSequence([seed, purpose, step]).generate_state(1, np.uint64)[0])


def generator(
    seed: int, purpose: Purpose, step: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator that depends on seed, purpose and step alone, so a resumed run draws the same."""
    return torch.Generator(device).manual_seed(word(seed, purpose, step))


def drawn(build: Callable[[], Built], seed: int, purpose: Purpose) -> Built:
    """What `build` returns, with weights drawn from a stream of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(word(seed, purpose))
        return build()
