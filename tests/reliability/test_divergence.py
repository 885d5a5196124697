"""A learning rate that is too high: the training says so, and the evaluation copes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from tests.steps.conftest import Command, evaluation_of, spec_of
from workflows.data import metric_networks
from workflows.evaluation.reconstructions import COLUMNS

pytestmark = pytest.mark.slow


# At this rate SQ-VAE's loss is 2e3 at the first step, 1e28 at the second and nan at the third.
# With two steps an epoch one whole epoch is kept, with three there is none.
@pytest.mark.parametrize(("images", "epochs_kept"), [(64, 1), (96, 0)])
def test_a_diverging_training_keeps_its_last_whole_epoch(
    images: int,
    epochs_kept: int,
    digits: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell, places = tmp_path / "cell", ["--data", digits, "--threads", 1]
    # The state that a training of other settings left here must not be taken for this training's.
    another = spec_of(epochs=1, train_images=images)
    command("train", "--spec", another, "--out", cell, *places)
    foreign = (cell / "state" / "last.safetensors").read_bytes()
    spec = spec_of(method="sq_vae", learning_rate=1.0, train_images=images)
    said = command("train", "--spec", spec, "--out", cell, *places)
    record = json.loads((cell / "train.json").read_text())
    assert record["status"] == "diverged"
    assert record["message"] == f"the loss became nan in epoch {epochs_kept + 1}"
    assert record["message"] in said
    assert (record["epochs"], record["steps"]) == (epochs_kept, 2 * epochs_kept)
    assert len(pd.read_csv(cell / "log.csv")) == 2 * epochs_kept
    state = cell / "state" / "last.safetensors"
    assert (state.read_bytes() != foreign) == (epochs_kept > 0)
    assert ("no epoch of it is whole" in said) == (epochs_kept == 0)
    if epochs_kept:
        kept, model = load_file(state), load_file(cell / "model.safetensors")
        for name, value in model.items():
            # The second step's gradients overflow, so a weight may be nan before a loss is.
            np.testing.assert_array_equal(kept[f"model.{name}"], value)

    # No metric network sees a model that diverged, so no weights are read and the reference may be
    # anything.
    monkeypatch.setattr(metric_networks, "file_of", lambda network: pytest.fail(network))
    nothing = tmp_path / "nothing.safetensors"
    save_file({}, nothing)
    options = ["--cell", cell, "--reference", nothing, *places]
    command("evaluate", *options, "--evaluation", evaluation_of())
    assert (cell / "metrics.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pd.read_csv(cell / "codes.csv")["count"].sum() == 1000 * 7 * 7
    assert (cell / "reconstructions.png").stat().st_size > 0
    # So the cell starts from scratch if the user asks for another training.
    assert not (cell / "state").exists()
