"""Small trainings that a test computes alone and that two processes compute together.

`torchrun ... -m tests.distributed.trainings OUT` writes what each process ends with.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.knobs import LARGE, VARIANTS, changed
from workflows.registry import build_adversary, build_autoencoder, build_objective, loss_weights
from workflows.steps.train import share_work
from workflows.training import processes
from workflows.training import stage1 as training
from workflows.training.stage1 import Learner, Losses, Observers, Splits

# Batches of 7 and 1 images: parts of unequal size, and a batch with fewer images than processes.
IMAGES, BATCH = 8, 7
# More steps would enlarge differences of rounding, which the critic's weight multiplies.
SAME = {"batch_size": BATCH, "epochs": 1, "adversarial_start": 1, "precision": "fp32"}
# A quantiser whose objective is the logarithm of a mean, one whose decoder sees the vectors twice,
# and one that draws anchors from all latents of a batch.
METHODS = ("sq_vae", "movq", "cvq_vae")


class Distance(torch.nn.Module):
    """Stands in for the perceptual network: (n, 3, h, w) twice to (n,)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean(dim=(1, 2, 3))


def pictures(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 1, side, side), dtype=np.uint8)


def autoencoder(method: str) -> dict[str, Tensor]:
    """The weights of a VQGAN and its critic after an epoch, and the losses of its history."""
    knobs = changed(VARIANTS[method], **{**LARGE, **SAME, "codebook_size": 8})
    model = build_autoencoder(knobs, 1, 4).to(memory_format=torch.channels_last)
    critic = build_adversary(knobs, 1)
    distance = Distance()
    objective = build_objective(knobs, 0.08, distance)
    losses = Losses(objective, loss_weights(knobs, 24**2), critic, distance)
    # Adam would make a whole step of a gradient that is zero but for rounding.
    critic.optimiser = torch.optim.SGD(critic.critic.parameters(), 0.01)
    learner = Learner(model, torch.optim.SGD(model.parameters(), 0.01), losses)
    share_work(learner)
    history: list[dict[str, float]] = []
    splits = Splits(pictures(24), pictures(24))
    training.train(learner, splits, knobs, history, Observers())
    return ended(history, {**model.state_dict(), **critic.state_dict(prefix="critic.")})


def ended(history: list[dict[str, float]], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    losses = torch.tensor([record["loss"] for record in history])
    copies = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    return {"losses": losses, **copies}


CASES: dict[str, Any] = {method: lambda method=method: autoencoder(method) for method in METHODS}


def agreed() -> dict[str, Tensor]:
    """A weight that differs between processes, after a step of the model that it is part of."""
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, float(os.environ["RANK"]))
    processes.divide([], [layer, None], layer)
    layer(torch.zeros(1, 2))
    return {"weight": layer.weight.detach()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, rank = Path(sys.argv[1]), os.environ["RANK"]
    for name, case in {**CASES, "agreed": agreed}.items():
        save_file(case(), out / f"{name}.{rank}.safetensors")
    (out / f"main.{rank}.json").write_text(json.dumps(processes.is_main()))
    torch.distributed.destroy_process_group()
