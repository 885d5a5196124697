"""A dataset, a first stage trained on it and its latents, made once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.knobs import DEFAULTS, typed
from tests.steps.conftest import spec_of
from workflows.config.datasets import read_dataset
from workflows.config.plan import PlannedEvaluation, Spec
from workflows.data.cache import prepare
from workflows.generators import GENERATORS
from workflows.steps import latents, train, train_generator

SMALL = {
    "unet_channels": 8,
    "unet_multipliers": [1, 1],
    "unet_blocks": 1,
    "attention_levels": 1,
    "head_channels": 8,
    "gan_channels": 16,
    "noise_dim": 8,
    "feature_side": 64,
    "transformer_width": 32,
    "transformer_layers": 1,
}
SAMPLING = {"sampling_steps": 4, "eta": 1.0, "guidance": 1.0, "samples": 8}


def evaluation_of(**sampling: Any) -> PlannedEvaluation:
    """What the steps that sample and measure are told."""
    return PlannedEvaluation(
        protocols=["samples"],
        versions={"FID": 1},
        sampling={**SAMPLING, **sampling},
        sampling_versions={"sampling": 1},
    )


def diffusion_spec(method: str = "ldm", **changes: Any) -> Spec:
    """A generative model on 100 digits, three epochs, as its training step reads it."""
    first_stage = json.loads(spec_of())["cell"] if GENERATORS[method].has_first_stage else None
    short = {"train_images": 100, "batch_size": 32, "epochs": 3, "ema_decay": 0.9}
    short |= {
        "method": method,
        "dataset": "mnist_5k",
        "seed": 0,
        "first_stage": first_stage,
        "learning_rate": 0.001,
    }
    return Spec(
        budget="smoke",
        cell="mnist_5k/ldm/default/seed0",
        knobs=typed({**DEFAULTS.of_generator(method), **SMALL, **short, **SAMPLING, **changes}),
        versions={"method": 3},
        progress_samples=5,
    )


@dataclass(frozen=True)
class Made:
    """Folders of the dataset and of the first stage, and the files of its latents and codes."""

    data: Path
    stage1: Path
    latents: Path
    codes: Path

    def below(self, method: str) -> tuple[Path | None, Path | None]:
        """The first stage that a method stands on, and what the method models of it."""
        points = GENERATORS[method].points
        file = {"latents": self.latents, "codes": self.codes}.get(points)
        return (self.stage1 if file else None), file


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("generation")
    stage1 = root / "stage1"
    files = (stage1 / f"{kind}.safetensors" for kind in ("latents", "codes"))
    found = Made(root / "mnist_5k", stage1, *files)
    prepare(read_dataset("mnist_5k"), found.data)
    train.run(Spec.model_validate_json(spec_of()), found.data, found.stage1)
    latents.run(found.stage1, found.data, found.latents)
    latents.run(found.stage1, found.data, found.codes, "codes")
    return found


def trained(made: Made, out: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """Train a generative model into `out`; its weights."""
    spec = diffusion_spec(**changes)
    below = made.below(spec.knobs.method)
    train_generator.run(spec, made.data, out, *below)
    return load_file(out / "model.safetensors")
