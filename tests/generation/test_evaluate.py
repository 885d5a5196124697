"""Samples measured by the steps' command lines, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.generation.conftest import SAMPLING, Made, trained
from tests.steps.conftest import Command, Refused, command, refused
from workflows.collecting import collect
from workflows.evaluation import COLUMNS
from workflows.metrics.manifold import NEIGHBOURS
from workflows.records import State
from workflows.schema import schema
from workflows.steps.evaluate_samples import SHOWN

__all__ = ["command", "refused"]


@dataclass(frozen=True)
class Chain:
    """What the steps wrote."""

    made: Made
    weights: Path
    reference: Path
    cell: Path

    def evaluate(self) -> list[object]:
        """The evaluate_samples step's options."""
        places = ["--weights", self.weights, "--reference", self.reference]
        return ["--cell", self.cell, "--data", self.made.data, *places]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, made: Made, command: Command) -> Chain:
    root = tmp_path_factory.mktemp("evaluate")
    found = Chain(made, root / "weights", root / "train-12.safetensors", root / "cell")
    command("weights", "--out", found.weights)
    places = ["--data", made.data, "--weights", found.weights, "--out", found.reference]
    command("reference", *places, "--protocol", "samples", "--split", "train", "--images", 12)
    trained(made, found.cell, conditional=True)
    sampling = {**SAMPLING, "samples": 20}
    stage1 = ["--stage1", made.stage1, "--latents", made.latents]
    command("sample", "--cell", found.cell, "--sampling", json.dumps(sampling), *stage1)
    command("evaluate_samples", *found.evaluate())
    return found


def test_numbers_say_what_they_rest_on(chain: Chain) -> None:
    metrics = pd.read_csv(chain.cell / "metrics.csv", keep_default_na=False)
    assert list(metrics.columns) == COLUMNS
    assert list(metrics["metric"]) == ["FID", "KID", "precision", "recall"]
    assert set(metrics["protocol"]) == {"samples"}
    assert set(metrics["images"]) == {20}
    record = json.loads((chain.weights / "inception.json").read_text())
    assert set(metrics["features"]) == {record["features"]}
    assert np.isfinite(metrics["value"]).all()
    assert metrics["value"].between(0, 1)[2:].all()


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


def test_the_fewest_that_may_be_asked_for_can_be_measured(
    chain: Chain, command: Command, tmp_path: Path
) -> None:
    """What a schema admits must not fail after all training."""
    samples = schema("generation_cell")["properties"]["samples"]["minimum"]
    settings = schema("budget")["properties"]["generation"]["properties"]
    images = settings["reference_images"]["minimum"]
    for file in chain.cell.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / "samples.npy", np.load(chain.cell / "samples.npy")[:samples])
    few = tmp_path / f"train-{images}.safetensors"
    places = ["--data", chain.made.data, "--weights", chain.weights, "--out", few]
    command("reference", *places, "--protocol", "samples", "--split", "train", "--images", images)
    swapped = {chain.cell: tmp_path, chain.reference: few}
    command("evaluate_samples", *[swapped.get(one, one) for one in chain.evaluate()])
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    assert set(metrics["images"]) == {samples} == {SHOWN}
    assert images == NEIGHBOURS + 1
    assert Image.open(tmp_path / "samples.png").size == (8 * 28, 28)
    assert Image.open(tmp_path / "neighbours.png").size == (8 * 28, 4 * 28)


def test_collected_curves_hold_loss_and_distance(chain: Chain, tmp_path: Path) -> None:
    knobs = {**json.loads((chain.cell / "train.json").read_text())["knobs"], **SAMPLING}
    cell = "mnist_5k/ldm/default/seed0"
    plan = {
        "budget": "smoke",
        "cells": {cell: {"folder": str(chain.cell), "knobs": knobs, "missing": None, "stage": 2}},
        "rows": [{"table": "one", "row": "LDM", "cell": cell}],
        "tables": {"one": {"protocols": ["samples"]}},
    }
    collect(plan, {cell: State(recorded=True)}, tmp_path)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert list(curves.loc[curves["FID"].notna(), "epoch"]) == [0, 1, 2, 3]
    assert curves["loss"].notna().sum() == 12
    assert curves["usage"].isna().all()
    assert len(pd.read_csv(tmp_path / "codes.csv")) == 0
    measured = pd.read_csv(tmp_path / "measured.csv")
    assert list(measured["metric"]) == ["FID", "KID", "precision", "recall"]


def test_other_features_and_missing_files_are_refused(
    chain: Chain, refused: Refused, tmp_path: Path
) -> None:
    other = tmp_path / "exact.safetensors"
    other.write_bytes(chain.reference.read_bytes()[:-8])
    line = refused("evaluate_samples", *chain.evaluate(), "--reference", other)
    assert "exact.safetensors" in line
    line = refused("evaluate_samples", *chain.evaluate(), "--reference", tmp_path / "none")
    assert "none" in line
    line = refused("sample", "--cell", tmp_path, "--sampling", "{}")
    assert "train.json" in line
