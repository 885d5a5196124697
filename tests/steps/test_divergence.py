"""A learning rate that is too high: the run says so and every later step copes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from tests.steps.conftest import LIMITS, Command, spec_of
from workflows.collecting import collect
from workflows.evaluation import COLUMNS
from workflows.records import Today, states
from workflows.steps import evaluate, prepare


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "mnist_5k"
    prepare.prepare("mnist_5k", folder)
    return folder


# At this rate SQ-VAE's loss is 2e3 at the first step, 1e28 at the second and nan at the third:
# with two steps an epoch one whole epoch is kept, with three there is none.
@pytest.mark.parametrize(("images", "epochs_kept"), [(64, 1), (96, 0)])
def test_divergence_is_a_result(
    images: int,
    epochs_kept: int,
    digits: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = spec_of(method="sq_vae", learning_rate=1.0, train_images=images)
    cell = tmp_path / "cell"
    # What a training of other settings left here is not taken for this one's.
    another = spec_of(epochs=1, train_images=images)
    command("train", "--spec", another, "--data", digits, "--out", cell, "--threads", 1)
    foreign = (cell / "state" / "last.safetensors").read_bytes()
    versions = ["--versions", '{"method": 1}']
    places = ["--data", digits, "--out", cell, "--threads", 1]
    done = command("train", "--spec", spec, *versions, *places)
    record = json.loads((cell / "train.json").read_text())
    assert record["status"] == "diverged"
    assert record["message"] == f"the loss became nan in epoch {epochs_kept + 1}"
    assert record["message"] in done.stdout
    assert (record["epochs"], record["steps"]) == (epochs_kept, 2 * epochs_kept)
    assert len(pd.read_csv(cell / "log.csv")) == 2 * epochs_kept
    state = cell / "state" / "last.safetensors"
    assert (state.read_bytes() != foreign) == (epochs_kept > 0)
    assert ("no epoch of it is whole" in done.stdout) == (epochs_kept == 0)
    if epochs_kept:
        kept, model = load_file(state), load_file(cell / "model.safetensors")
        for name, value in model.items():
            # The second step's gradients overflow, so a weight may be nan before a loss is.
            np.testing.assert_array_equal(kept[f"model.{name}"], value)

    # No network is asked about a model that diverged, so weights and reference may be anything.
    nothing = tmp_path / "nothing.safetensors"
    save_file({}, nothing)
    places = ["--data", digits, "--weights", tmp_path, "--reference", nothing]
    options = ["--cell", cell, *places, "--protocols", "exact", *LIMITS]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, options)])
    assert evaluate.main() == 0
    assert (cell / "metrics.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pd.read_csv(cell / "codes.csv")["count"].sum() == 1000 * 7 * 7
    assert (cell / "reconstructions.png").stat().st_size > 0

    planned = {
        **{"folder": str(cell), "knobs": json.loads(spec)["knobs"], "missing": None},
        **{"defaults": {}, "stage": 1, "versions": {"method": 1}, "images": images},
        "evaluation": {"protocols": ["exact"], "versions": {}},
    }
    name = json.loads(spec)["cell"]
    row = {"table": "methods", "row": "SQ-VAE", "cell": name}
    plan = {"budget": "smoke", "cells": {name: planned}, "rows": [row]}
    plan |= {"tables": {"methods": {"protocols": ["exact"]}}}
    measured = collect(plan, states(plan["cells"], Today()), tmp_path)["measured"]
    (line,) = measured.to_dict("records")
    assert line["status"] == "diverged"
    assert line["note"] == f"last good step {2 * epochs_kept}; {record['message']}"
    assert line["value"] != line["value"]
