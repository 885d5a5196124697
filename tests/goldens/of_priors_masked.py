"""Goldens of the masked prior and of ImageBART: a short training, and samples."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from tests.goldens.golden import TRAINED, Golden, Numbers, Wrong
from tests.goldens.made import ANYTHING, CPU, summary
from tests.knobs import typed
from workflows.generators import build_generator, build_generator_optimiser
from workflows.training import sampling, stage2

CLASSES, CODES, SIDE = 3, 16, 4
SPACE = SimpleNamespace(codebook_size=CODES)
# What both take; these change only with the goldens themselves.
SETTINGS = {
    **ANYTHING,
    **{"seed": 6, "first_stage": None, "conditional": True, "precision": "fp32"},
    **{"epochs": 2, "batch_size": 4, "learning_rate": 0.003, "warmup_steps": 2, "ema_decay": 0.9},
    **{"transformer_width": 32, "transformer_layers": 1, "temperature": 1.5},
    **{"sampling_steps": 5, "scales": 3},
}


def codes(count: int, groups: int) -> np.ndarray:
    """Slanted stripes of codes."""
    k, q, y, x = np.ogrid[:count, :groups, :SIDE, :SIDE]
    return ((3 * x + (k % 3 * 2 + 1) * y + 5 * q + 7 * k) % CODES).astype(np.float32)


def trained(method: str, groups: int) -> Numbers:
    """Losses, averaged weights and what is sampled with them, of a training of ten steps."""
    knobs = typed({**SETTINGS, "method": method})
    network = build_generator(knobs, (groups, SIDE, SIDE), CLASSES, SPACE)
    average = EMAModel(network.parameters(), knobs.ema_decay)
    optimiser = build_generator_optimiser(knobs, network)
    learner = stage2.Learner(network, optimiser, average, samples=3)
    data = stage2.Points(codes(20, groups), np.arange(20) % CLASSES, CLASSES)
    history: list[dict[str, float]] = []
    nobody = stage2.Observers(lambda record: None, lambda records: None)
    stage2.train(learner, data, knobs, history, nobody)
    average.copy_to(network.parameters())
    shape = (groups, SIDE, SIDE)
    made = sampling.sample_points(network, knobs, shape, CLASSES, [0, 1, 2, 3, 4, 5], CPU)
    weights = torch.cat([weight.flatten() for weight in average.shadow_params])
    kept = torch.stack([learner.kept[epoch] for epoch in sorted(learner.kept)])
    losses = [record["loss"] for record in history]
    found = {**summary(weights, "average"), **summary(kept, "kept"), **summary(made, "samples")}
    return {"loss": losses, "first": made[0].flatten().tolist(), **found}


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
