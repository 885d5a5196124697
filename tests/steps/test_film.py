"""A filmed training: the same model, and a film that survives being killed or diverging."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.reliability import killing
from tests.steps.conftest import Command, spec_of
from workflows.config.plan import Spec
from workflows.steps import train

PLANE = {"code_dim": 2, "distance": "l2"}

# In the second epoch, of two steps each.
DEATH = killing.Death("step", 3)


def test_a_film_is_the_same_after_an_interruption_and_changes_no_model(
    digits: Path, command: Command, tmp_path: Path
) -> None:
    whole, killed, plain = (tmp_path / name for name in ("whole", "killed", "plain"))
    places = ["--data", digits, "--threads", 1]
    options = ["--spec", spec_of(**PLANE), *places]
    filmed = ["--spec", spec_of(**PLANE, filmed=True), *places]
    command("train", *filmed, "--out", whole)
    command("train", *options, "--out", plain)
    call = killing.command("train", *filmed, "--out", killed)
    assert killing.exit_status(call, DEATH) in killing.DEATHS
    kept = load_file(killed / "state" / "last.safetensors")
    assert kept["film.step"].tolist() == [0, 1, 2]
    said = command("train", *filmed, "--out", killed)
    assert "epoch 1/2" not in said

    film = load_file(whole / "film.safetensors")
    assert {name: (value.shape, str(value.dtype)) for name, value in film.items()} == {
        "step": ((5,), "int32"),
        "codebook": ((5, 32, 2), "float32"),
        "latents": ((5, 1500, 2), "float32"),
        "counts": ((5, 32), "int32"),
    }
    assert film["step"].tolist() == [0, 1, 2, 3, 4]
    # All 400 validation images, of which the film would watch 500.
    assert (film["counts"].sum(1) == 400 * 7 * 7).all()
    one, other = ((folder / "film.safetensors").read_bytes() for folder in (whole, killed))
    assert one == other
    models = {(folder / "model.safetensors").read_bytes() for folder in (whole, killed, plain)}
    assert len(models) == 1
    assert not (plain / "film.safetensors").exists()
    # A state without a film is not gone on from.
    assert "starting anew" in command("train", *filmed, "--out", plain)
    assert (plain / "film.safetensors").read_bytes() == one


# As in test_divergence: the loss is nan at the third step, in the second epoch or in the first.
@pytest.mark.parametrize(("images", "epochs"), [(64, 1), (96, 0)])
def test_a_film_of_a_run_that_diverged_ends_with_its_last_whole_epoch(
    images: int, epochs: int, digits: Path, tmp_path: Path
) -> None:
    knobs = {**PLANE, "method": "sq_vae", "learning_rate": 1.0, "train_images": images}
    spec = spec_of(**knobs, filmed=True)
    train.run(Spec.model_validate_json(spec), digits, tmp_path)
    record = json.loads((tmp_path / "train.json").read_text())
    assert (record["status"], record["epochs"]) == ("diverged", epochs)
    assert record["message"] == f"the loss became nan in epoch {epochs + 1}"
    film = load_file(tmp_path / "film.safetensors")
    assert film["step"].tolist() == list(range(2 * epochs + 1))
    assert np.isfinite(film["codebook"][0]).all()
