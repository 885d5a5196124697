"""A quantiser trained alone between the networks of a trained autoencoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.steps.conftest import Command, Refused, evaluation_of, spec_of
from workflows.data import metric_networks
from workflows.registry import parse_knobs
from workflows.training.frozen import build_learner, train_step
from workflows.training.spaces import load_trained
from workflows.training.tensor_files import read_tensors

CELL = "mnist_5k/autoencoder/default/seed0"
FROZEN: dict[str, Any] = {"network": "frozen", "first_stage": CELL}


@pytest.fixture(scope="module")
def first_stage(digits: Path, tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """A continuous autoencoder with its latents."""
    out = tmp_path_factory.mktemp("autoencoder")
    data = ["--data", digits, "--threads", 1]
    command("train", "--spec", spec_of("autoencoder"), *data, "--out", out)
    command("latents", "--cell", out, *data, "--out", out / "latents.safetensors")
    return out


def test_a_quantiser_alone_is_trained_and_measured_as_an_autoencoder(
    digits: Path,
    first_stage: Path,
    tmp_path: Path,
    command: Command,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    latents = first_stage / "latents.safetensors"
    places = ["--data", digits, "--out", tmp_path, "--stage1", first_stage]
    spec = spec_of("cvq_vae", **FROZEN, epochs=4, anchors="closest", distance="l2")
    command("train_quantiser", "--spec", spec, *places, "--latents", latents)
    record = json.loads((tmp_path / "train.json").read_text())
    below = json.loads((first_stage / "train.json").read_text())
    assert (record["status"], record["images"], record["steps"]) == ("finished", 64, 8)
    assert record["first_stage"] == below["model_sha256"]
    before, after = (read_tensors(at / "model.safetensors")[0] for at in (first_stage, tmp_path))
    networks = {name for name in after if not name.startswith("quantiser")}
    assert networks == {*before}
    assert all(torch.equal(after[name], before[name]) for name in networks)
    errors = pd.read_csv(tmp_path / "log.csv")["reconstruction"]
    assert errors.iloc[-1] < errors.iloc[0]

    # Neither features of reference images nor networks are read for what the table shows.
    monkeypatch.setattr(metric_networks, "file_of", lambda network: pytest.fail(network))
    metrics = {"metrics": ["PSNR", "error", "perplexity", "usage"]}
    command(
        *["evaluate", "--cell", tmp_path, "--data", digits],
        *["--evaluation", evaluation_of(**metrics)],
    )
    found = pd.read_csv(tmp_path / "metrics.csv").set_index("metric")["value"]
    assert sorted(found.index) == metrics["metrics"]
    model: Any = load_trained(tmp_path).model
    images = np.load(digits / "test.npy")
    with torch.no_grad():
        rows = model.encoder(torch.tensor(images).float() / 127.5 - 1).permute(0, 2, 3, 1)
        rows = rows.reshape(-1, 8).double()
        nearest = torch.cdist(rows, model.quantiser.codebook.double()).amin(1).square().mean()
    assert found["error"] == pytest.approx(
        float(nearest / rows.var(0, correction=0).sum()), rel=1e-3
    )

    other = spec_of("cvq_vae", **{**FROZEN, "first_stage": "mnist_5k/autoencoder/D4/seed0"})
    assert CELL in refused("train_quantiser", "--spec", other, *places, "--latents", latents)


@pytest.mark.parametrize("has_losses", [True, False])
def test_averages_alone_need_no_gradient(first_stage: Path, has_losses: bool) -> None:
    knobs = json.loads(spec_of("vq_vae_ema", **FROZEN))["knobs"]
    below = load_trained(first_stage)
    learner = build_learner(parse_knobs(knobs), below, 10, torch.device("cpu"))
    if not has_losses:
        quantiser = learner.model.get_submodule("quantiser")
        quantiser.register_forward_hook(lambda *call: replace(call[-1], losses={}))
    latents = torch.randn(32, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    errors = [float(train_step(learner, latents)[1]) for _ in range(30)]
    assert errors[-1] < errors[0]
