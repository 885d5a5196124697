"""Steps that are killed and run again end with the numbers of an undisturbed run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.knobs import LARGE
from tests.reliability.killing import DEATHS, Death, command, exit_status
from tests.steps.conftest import Chain, spec_of
from workflows.training.tensor_files import read_tensors

pytestmark = pytest.mark.slow(seconds=60)
# Of two steps each.
EPOCHS = 3
# Each method is resumed in tests/numerics/test_training.py.
QUANTISERS: dict[str, dict[str, Any]] = {
    "cvq_vae": {
        **{"method": "cvq_vae", "anchors": "random", "code_dim": 2, "distance": "l2"},
        "filmed": True,
    },
    "rq_vae": {"method": "rq_vae", "residual_depth": 2},
    # The larger network is slow, so it gets a quarter of the images.
    "movq": {
        **{"method": "movq", "channel_groups": 4, **LARGE, "adversarial_start": 1},
        **{"train_images": 16, "batch_size": 8},
    },
}
EVALUATED = ("metrics.csv", "codes.csv", "reconstructions.png", "evaluation.json")


def training(quantiser: str, chain: Chain, folder: Path) -> Callable[[], Any]:
    spec = spec_of(**{"epochs": EPOCHS, **QUANTISERS[quantiser]})
    places = ["--data", chain.data, "--out", folder]
    return command("train", "--spec", spec, *places, "--threads", 1)


def evaluation(chain: Chain, folder: Path) -> Callable[[], Any]:
    return command("evaluate", *chain.evaluate("--cell", folder, "--threads", 1))


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that a training leaves, except for how fast it was."""
    record = json.loads((folder / "train.json").read_text())
    log = pd.read_csv(folder / "log.csv").drop(columns=["images_per_second", "seconds"])
    return {
        "tensors": [file.read_bytes() for file in sorted(folder.glob("*.safetensors"))],
        "log": log.to_csv(),
        "record": [record[key] for key in ("status", "steps", "epochs", "model_sha256")],
        "files": {file.name for file in folder.iterdir()},
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Path of each file below the folder -> its bytes. Temporary files are left out."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(".tmp")
    }


def assert_same_after(
    call: Callable[[], Any], death: Death, folder: Path, expected: dict[str, bytes]
) -> None:
    """Every file that a killed call leaves is whole, and the next call makes the rest."""
    assert exit_status(call, death) in DEATHS, death
    left = contents(folder)
    assert all(expected[name] == read for name, read in left.items()), death
    # The record says that everything is there, so it is written last.
    assert "evaluation.json" not in left or left == expected, death
    assert exit_status(call) == 0
    assert contents(folder) == expected


@pytest.fixture(scope="module", params=QUANTISERS)
def undisturbed(
    request: pytest.FixtureRequest, chain: Chain, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A quantiser's name and the folder of its undisturbed training."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert exit_status(training(request.param, chain, folder)) == 0
    return request.param, folder


def test_a_killed_training_ends_with_the_same_numbers(
    undisturbed: tuple[str, Path], chain: Chain, tmp_path: Path
) -> None:
    quantiser, folder = undisturbed
    train = training(quantiser, chain, tmp_path)
    # Killed in the second epoch, and then in the middle of writing that epoch's state.
    for death in (Death("step", 3), Death("step", 1, byte=5000)):
        assert exit_status(train, death) in DEATHS
        assert not (tmp_path / "train.json").exists()
        kept = read_tensors(tmp_path / "state" / "last.safetensors")
        assert json.loads(kept[1]["history"])[-1]["step"] == 2
    assert exit_status(train) == 0
    assert outcome(tmp_path) == outcome(folder)


@pytest.mark.parametrize("undisturbed", ["cvq_vae"], indirect=True)
def test_a_killed_evaluation_gives_the_same_numbers(
    undisturbed: tuple[str, Path], chain: Chain, tmp_path: Path
) -> None:
    trained, folder, lost = undisturbed[1], tmp_path / "cell", tmp_path / "lost"
    shutil.copytree(trained, folder)
    shutil.copytree(trained, lost)
    evaluate = evaluation(chain, folder)
    # A cell that counts as finished leaves no state that a later training would be read back from:
    # killed before the record, which is the fourth file, is in place.
    assert exit_status(evaluate, Death("rename", 4)) in DEATHS
    assert not (folder / "evaluation.json").exists()
    assert not (folder / "state").exists()
    assert exit_status(evaluate) == 0
    expected = contents(folder)
    assert {*EVALUATED} < {*expected}
    for death in (Death("pass", 20), Death("rename", 3), Death("start", byte=100)):
        for name in EVALUATED:
            (folder / name).unlink()
        assert_same_after(evaluate, death, folder, expected)
    # A training whose outputs were lost before they were evaluated is read back from its state.
    for name in ("train.json", "log.csv", "model.safetensors"):
        (lost / name).unlink()
    assert exit_status(training(undisturbed[0], chain, lost)) == 0
    assert (lost / "log.csv").read_bytes() == expected["log.csv"]
    assert (lost / "model.safetensors").read_bytes() == expected["model.safetensors"]
