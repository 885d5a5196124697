"""Random streams: every draw of a run comes from its seed, a purpose and a step."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a stream is drawn for. The numbers are part of every result: append, never renumber."""

    ENCODER = 1
    DECODER = 2
    QUANTISER = 3
    CRITIC = 4
    BACKBONE = 5
    # Which images a batch has; the step is the epoch.
    ORDER = 6
    # What a quantiser draws while it trains: anchors, noise, restarted codevectors.
    CODES = 7
    # Noise and times that a diffusion model learns from.
    DIFFUSION = 8
    # The noise that a sample starts from and meets on its way; the step is the sample's number.
    SAMPLE = 9
    # Noise that is decoded without any training, for comparison.
    UNTRAINED = 10


def word(seed: int, purpose: Purpose, step: int = 0) -> int:
    """A 64-bit number that is as good as unique for seed, purpose and step.

    numpy's SeedSequence mixes the three, so no choice of seeds makes two streams follow each other
    as the sum of a seed and a step does.
    """
    return int(np.random.SeedSequence([seed, purpose, step]).generate_state(1, np.uint64)[0])


def generator(
    seed: int, purpose: Purpose, step: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator that depends on seed, purpose and step alone, so a resumed run draws the same.

    On a processor torch keeps 32 of the 64 bits: two single steps draw alike by chance once in
    four billion pairs, whole runs never.
    """
    return torch.Generator(device).manual_seed(word(seed, purpose, step))
