"""Goldens of the masked prior and of ImageBART: a short training, and samples."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.goldens.golden import TRAINED, Golden, Numbers, Wrong
from tests.goldens.made import CPU, average_of, generative, kept_by, learned, summary
from workflows.generators import build_generator
from workflows.training import sampling, stage2

CLASSES, CODES, SIDE = 3, 16, 4
SPACE = SimpleNamespace(codebook_size=CODES)


def codes(count: int, groups: int) -> np.ndarray:
    """Slanted stripes of codes."""
    k, q, y, x = np.ogrid[:count, :groups, :SIDE, :SIDE]
    return ((3 * x + (k % 3 * 2 + 1) * y + 5 * q + 7 * k) % CODES).astype(np.float32)


def trained(method: str, groups: int) -> Numbers:
    """Losses, averaged weights and what is sampled with them, of a training of ten steps."""
    knobs = generative("prior_masked", method=method)
    network = build_generator(knobs, (groups, SIDE, SIDE), CLASSES, SPACE)
    data = stage2.Points(codes(20, groups), np.arange(20) % CLASSES, CLASSES)
    learner, losses = learned(network, knobs, data)
    learner.ema.copy_to(network.parameters())
    shape = (groups, SIDE, SIDE)
    samples = sampling.sample_points(network, knobs, shape, CLASSES, [0, 1, 2, 3, 4, 5], CPU)
    return {
        "loss": losses,
        "first": samples[0].flatten().tolist(),
        **summary(average_of(learner), "average"),
        **summary(kept_by(learner), "kept"),
        **summary(samples, "samples"),
    }


def linear(old: Any) -> Any:
    return lambda places, steps: [places - places * step // steps for step in range(1, steps + 1)]


UNSURE = Wrong("places are revealed at an even pace", "baselines.masked_prior.still_hidden", linear)
EVEN = Wrong(
    "each step replaces as many codes",
    "baselines.imagebart.Chain.beta",
    lambda old: lambda self, time: 1 / self.steps,
)
GOLDENS = [
    Golden("generator", "masked_prior", partial(trained, "masked_prior", 2), UNSURE, "", TRAINED),
    Golden("generator", "imagebart", partial(trained, "imagebart", 1), EVEN, "", TRAINED),
]
