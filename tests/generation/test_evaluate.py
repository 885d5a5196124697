"""Samples measured by the steps' command lines, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.generation.conftest import Made, diffusion_spec, evaluation_of, trained
from tests.steps.conftest import Command, Refused, command, refused
from workflows.config.names import RUN_METRICS
from workflows.config.plan import PlannedCell
from workflows.data.weight_sources import SOURCES
from workflows.evaluation.reconstructions import COLUMNS
from workflows.files import digest, write_json
from workflows.records.collect import curves_of, measurements
from workflows.records.state import State
from workflows.steps import evaluate_samples, sample
from workflows.training.tensor_files import read_tensors, save_tensors

pytestmark = pytest.mark.slow

__all__ = ["command", "refused"]


@dataclass(frozen=True)
class Chain:
    """What the steps wrote."""

    made: Made
    reference: Path
    cell: Path

    def evaluate(self) -> list[object]:
        """The evaluate_samples step's options."""
        places = ["--data", self.made.data, "--reference", self.reference]
        wanted = ["--evaluation", evaluation_of().model_dump_json()]
        return ["--cell", self.cell, *places, *wanted]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, made: Made, command: Command) -> Chain:
    root = tmp_path_factory.mktemp("evaluate")
    found = Chain(made, root / "train-12.safetensors", root / "cell")
    places = ["--data", made.data, "--out", found.reference]
    command("reference", *places, "--protocol", "samples", "--split", "train", "--images", 12)
    trained(made, found.cell, conditional=True)
    wanted = ["--evaluation", evaluation_of(samples=20).model_dump_json()]
    stage1 = ["--stage1", made.stage1, "--latents", made.latents]
    command("sample", "--cell", found.cell, "--data", made.data, *wanted, *stage1)
    command("evaluate_samples", *found.evaluate())
    return found


def test_numbers_say_what_they_rest_on(chain: Chain) -> None:
    metrics = pd.read_csv(chain.cell / "metrics.csv", keep_default_na=False)
    assert list(metrics.columns) == COLUMNS
    assert list(metrics["metric"]) == ["FID", "KID", "KID-deviation", "precision", "recall"]
    assert set(metrics["protocol"]) == {"samples"}
    assert set(metrics["images"]) == {20}
    assert set(metrics["features"]) == {SOURCES["inception"].features}
    assert np.isfinite(metrics["value"]).all()
    assert metrics["value"].between(0, 1)[3:].all()
    # The samples are measured, so nothing is kept for the next try.
    assert not (chain.cell / "state").exists()


def test_progress_begins_with_noise(chain: Chain) -> None:
    progress = pd.read_csv(chain.cell / "progress.csv")
    assert list(progress["epoch"]) == [0, 1, 2, 3]
    assert set(progress["images"]) == {5}
    assert (progress["FID"] > 0).all()


def test_pictures_show_samples_and_their_neighbours(chain: Chain) -> None:
    assert Image.open(chain.cell / "samples.png").size == (8 * 28, 2 * 28)
    picture = np.asarray(Image.open(chain.cell / "neighbours.png"))
    assert picture.shape == (4 * 28, 8 * 28, 3)
    samples = np.load(chain.cell / "samples.npy")
    assert np.array_equal(picture[:28, :28, 0], samples[0, 0])
    # What is below is a training image, to the last bit.
    train = np.load(chain.made.data / "train.npy")[:12, 0]
    assert any(np.array_equal(picture[28:56, 28:56, 1], image) for image in train)


def test_samples_that_are_not_finite_are_a_result(chain: Chain, tmp_path: Path) -> None:
    """They are measured and collected as those of a training that diverged are."""
    for file in chain.cell.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors, about = read_tensors(tmp_path / "model.safetensors")
    spoilt = {name: value * np.nan for name, value in tensors.items()}
    save_tensors(tmp_path / "model.safetensors", spoilt, about)
    record = json.loads((tmp_path / "train.json").read_text())
    record["model_sha256"] = digest(tmp_path / "model.safetensors")
    write_json(tmp_path / "train.json", record)
    wanted = evaluation_of(samples=20)
    sample.run(tmp_path, chain.made.data, wanted, chain.made.stage1, chain.made.latents)
    sampled = json.loads((tmp_path / "sampling.json").read_text())
    message = "the model's points hold values that are not finite (7840 of 7840)"
    assert (sampled["status"], sampled["message"]) == ("diverged", message)
    # Other settings or versions are a reason to sample it again.
    assert sampled.items() >= {**wanted.sampling, "versions": {"sampling": 1}}.items()
    (tmp_path / "state").mkdir()
    evaluate_samples.run(tmp_path, chain.made.data, chain.reference, wanted)
    assert not (tmp_path / "state").exists()
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert (found["status"], found["message"]) == ("diverged", message)
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 0
    (line,) = measurements("mnist_5k/ldm/default/seed0", planned(tmp_path), "smoke", MEASURED)
    assert (line["status"], line["note"]) == ("diverged", f"evaluation: {message}")


MEASURED = State(recorded=True)


def planned(cell: Path) -> PlannedCell:
    """What the plan says of the cell in a folder."""
    return PlannedCell(
        folder=str(cell),
        knobs=diffusion_spec(conditional=True).knobs,
        defaults={},
        missing=None,
        versions={"method": 3},
        images=100,
        filmed=False,
        evaluation=evaluation_of(samples=20),
    )


def test_samples_equal_to_training_images_are_found_out(
    chain: Chain, command: Command, tmp_path: Path
) -> None:
    """A model that remembers has neighbours that are its samples, and a distance of nought."""
    for file in chain.cell.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / "samples.npy", np.load(chain.made.data / "train.npy")[:12])
    options = [tmp_path if one == chain.cell else one for one in chain.evaluate()]
    command("evaluate_samples", *options)
    values = pd.read_csv(tmp_path / "metrics.csv").set_index("metric")["value"]
    assert values["FID"] == pytest.approx(0, abs=1e-3)
    assert values["precision"] == values["recall"] == 1
    picture = np.asarray(Image.open(tmp_path / "neighbours.png"))
    assert np.array_equal(picture[:28], picture[28:56])


def test_collected_curves_hold_loss_and_distance(chain: Chain) -> None:
    found = curves_of(planned(chain.cell))
    assert list(found.loc[found["FID"].notna(), "epoch"]) == [0, 1, 2, 3]
    assert found["loss"].notna().sum() == 12
    lines = measurements("mnist_5k/ldm/default/seed0", planned(chain.cell), "smoke", MEASURED)
    measured = ["FID", "KID", "KID-deviation", "precision", "recall"]
    assert [line["metric"] for line in lines] == [*measured, *RUN_METRICS]


def test_other_features_and_missing_files_are_refused(
    chain: Chain, refused: Refused, tmp_path: Path
) -> None:
    other = tmp_path / "exact.safetensors"
    other.write_bytes(chain.reference.read_bytes()[:-8])
    line = refused("evaluate_samples", *chain.evaluate(), "--reference", other)
    assert "exact.safetensors" in line
    line = refused("evaluate_samples", *chain.evaluate(), "--reference", tmp_path / "none")
    assert "none" in line
    wanted = evaluation_of().model_dump_json()
    line = refused("sample", "--cell", tmp_path, "--data", tmp_path, "--evaluation", wanted)
    assert "train.json" in line
