"""A dataset, a first stage trained on it and its latents, made once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.steps.conftest import ROOT, spec_of
from workflows.data import prepare
from workflows.schema import load_yaml, validate
from workflows.steps import latents, train, train_diffusion

SMALL = {
    "unet_channels": 8,
    "unet_multipliers": [1, 1],
    "unet_blocks": 1,
    "attention_levels": 1,
    "head_channels": 8,
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 0.001,
    "ema_decay": 0.9,
    "train_images": 100,
}
# Of what trains the first stage; others are refused where it is used.
VERSIONS = {"method": 1, "training": 2}
SAMPLING = {"sampling_steps": 4, "eta": 1.0, "guidance": 1.0, "samples": 6}


def diffusion_spec(**changes: Any) -> dict[str, Any]:
    """A diffusion model on 100 digits, three epochs, as its training step reads it."""
    defaults = load_yaml(ROOT / "workflows" / "defaults.yaml", "defaults")["generation"]["knobs"]
    knobs = {**defaults, "dataset": "mnist_5k", "method": "ldm", "seed": 0, **SMALL, **changes}
    stage1 = json.loads(spec_of())["cell"]
    knobs["first_stage"] = stage1 if knobs["method"] == "ldm" else None
    knobs = {key: value for key, value in knobs.items() if key not in SAMPLING}
    validate(knobs, "generation_cell", "spec")
    return {"budget": "smoke", "cell": "mnist_5k/ldm/default/seed0", "knobs": knobs}


@dataclass(frozen=True)
class Made:
    """Folders of the dataset and of the first stage, and the file of its latents."""

    data: Path
    stage1: Path
    latents: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("generation")
    found = Made(root / "mnist_5k", root / "stage1", root / "stage1" / "latents.safetensors")
    prepare("mnist_5k", found.data)
    train.run(json.loads(spec_of()), found.data, found.stage1, VERSIONS)
    latents.run(found.stage1, found.data, VERSIONS, found.latents)
    torch.set_flush_denormal(False)
    return found


def trained(made: Made, out: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """Train a diffusion model into `out`; its weights."""
    spec = diffusion_spec(**changes)
    file = made.latents if spec["knobs"]["method"] == "ldm" else None
    train_diffusion.run(spec, made.data, out, file, {"method": 3}, progress_samples=5)
    torch.set_flush_denormal(False)
    return load_file(out / "model.safetensors")
