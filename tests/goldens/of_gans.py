"""Goldens of generative adversarial networks: some steps of training, and samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from tests.goldens.golden import TRAINED, Golden, Numbers, Wrong
from tests.goldens.made import CPU, average_of, generative, learned, pictures, summary
from workflows.generators import build_critic, build_generator
from workflows.steps.train_generator import read_frozen_of
from workflows.training import stage2
from workflows.training.sampling import sample_points

SHAPE = (3, 16, 16)


def trained(method: str) -> Numbers:
    """Losses, averaged weights, the critic's scores of images, and samples of four steps."""
    knobs = generative("gan", method=method)
    model = build_generator(knobs, SHAPE, None, None)
    critic = build_critic(knobs, SHAPE, read_frozen_of(knobs)[0])
    data = stage2.Points(pictures(8, 3, 16), None)
    learner, losses = learned(model, knobs, data, critic)
    learner.ema.copy_to(model.parameters())
    with torch.inference_mode():
        scores = critic(data.batch(torch.arange(4), CPU))
    flat = torch.cat([score.flatten() for score in scores])
    samples = sample_points(model, knobs, SHAPE, None, [0, 1, 5], CPU)
    return {
        "loss": losses,
        **summary(average_of(learner), "average"),
        **summary(flat, "scores"),
        **summary(samples, "samples"),
    }


def of_another_seed(old: Any) -> Any:
    def drawn(*others: Any) -> Any:
        torch.manual_seed(99)
        return old(*others)

    return drawn


DEMODULATION = Wrong(
    "styles are not demodulated",
    "baselines.stylegan2.demodulation",
    lambda old: lambda weights, scales: torch.ones(len(scales), len(weights)),
)
PROJECTIONS = Wrong(
    "projections are of another seed", "baselines.projected_gan.Projections", of_another_seed
)
GOLDENS = [
    Golden("generator", name, partial(trained, name), mutation, tolerance=TRAINED)
    for name, mutation in (("stylegan2", DEMODULATION), ("projected_gan", PROJECTIONS))
]
