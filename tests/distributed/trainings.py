"""Small trainings, one of every kind, that a test computes alone and `ranks` with several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.autoencoder import Autoencoder, Reconstruction
from models.division import UNDIVIDED, Division
from models.quantiser.interface import Quantised
from tests.conftest import LARGE, VARIANTS
from workflows.processes import Processes
from workflows.registry import (
    build_adversary,
    build_autoencoder,
    build_objective,
    loss_weights,
)
from workflows.training import Images, Losses, Observers, steps_per_epoch, train

CPU = torch.device("cpu")
# Batches of 7, 7 and 2: four processes have parts of 2 and 1, and two of them none of the last.
IMAGES, BATCH = 16, 7
RATE = 0.01
# Validation images of a record of the whole step.
WATCHED = 20
# Codevectors are moved near others every 20 steps; the second one shall be such.
PASSED = {"near_codevectors": 18}


def _cases() -> dict[str, dict[str, Any]]:
    small = {name: knobs for name, knobs in VARIANTS.items() if "network" not in knobs}
    # Against the critic from step 1 on; SQ-VAE's term is the logarithm of a mean.
    large = {
        f"vqgan-{method}": {**VARIANTS[method], **LARGE, "adversarial_start": 1}
        for method in ("sq_vae", "movq")
    }
    # As many codes as the last batch has latents: codevectors are never drawn twice, which would
    # leave it to rounding which of two equal ones a latent is nearest to.
    same = {"batch_size": BATCH, "epochs": 1, "codebook_size": 8}
    return {name: {**knobs, **same} for name, knobs in (small | large).items()}


CASES = _cases()


class Exact(Autoencoder):
    """The same in double precision.

    Codevectors that share an anchor differ by a thousandth, and rounding in single precision
    decides which of them a latent is nearest to.
    """

    def forward(self, images: Tensor) -> Reconstruction:
        quantised = self.quantise(images)
        return Reconstruction(self.decoder(quantised.vectors), quantised)

    def quantise(self, images: Tensor) -> Quantised:
        return self.quantiser(self.encoder(images.double()))


def exact(knobs: dict[str, Any]) -> bool:
    """Whether the training is in double precision; RQ-VAE's library is not, and VQGAN is slow."""
    return knobs["method"] != "rq_vae" and "network" not in knobs


@dataclass(frozen=True)
class Outcome:
    """tensors: of the model's state and the critic's. history: LOG_COLUMNS but for time."""

    tensors: dict[str, Tensor]
    history: list[dict[str, float]]


def _images(side: int) -> Images:
    array = np.random.default_rng(0).integers(0, 256, (IMAGES + 8, 1, side, side), dtype=np.uint8)
    return Images(array[:IMAGES], array[IMAGES:], 0.08)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """In place of the perceptual one."""
    return (a - b).square().mean(dim=(1, 2, 3))


def outcome(knobs: dict[str, Any], processes: Processes) -> Outcome:
    """Train with knobs, from their seed."""
    critic = build_adversary(knobs, 1)
    # The critic's patches want as many pixels.
    images = _images(24 if critic is not None else 8)
    planned = steps_per_epoch(IMAGES, BATCH) * knobs["epochs"]
    model = build_autoencoder(knobs, 1, planned).to(memory_format=torch.channels_last)
    objective = build_objective(knobs, 0.08, _distance)
    if knobs["method"] in PASSED:
        model.quantiser.refresh.step.passed = PASSED[knobs["method"]]
    if exact(knobs):
        model.double().__class__ = Exact

    def loss(output: Tensor, images: Tensor, division: Division = UNDIVIDED) -> Tensor:
        return objective(output, images.to(output.dtype), division)

    losses = Losses(loss, loss_weights(knobs, images.train[0].size), critic)
    history: list[dict[str, float]] = []
    nobody = Observers(lambda _: None, lambda _: None)
    # Adam makes a step of any gradient, also of what is zero but for rounding.
    optimiser = torch.optim.SGD(model.parameters(), RATE)
    if critic is not None:
        critic.optimiser = torch.optim.SGD(critic.critic.parameters(), RATE)
    train(model, optimiser, images, losses, knobs, history, nobody, CPU, processes)
    timed = ("images_per_second", "seconds")
    tensors = model.state_dict()
    if critic is not None:
        tensors |= {f"critic.{name}": value for name, value in critic.state_dict().items()}
    return Outcome(
        {name: value.clone().contiguous() for name, value in tensors.items()},
        [{k: v for k, v in record.items() if k not in timed} for record in history],
    )
