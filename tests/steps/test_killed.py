"""Every quantiser's training, evaluation and collection, killed at random and run again.

CODEBOOK_KILLS says how often each is killed (`make faults`: many times), CODEBOOK_KILLS_SEED where.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import LARGE
from tests.steps.conftest import Chain, spec_of
from tests.steps.killing import DEATHS, Death, command, lived
from workflows.checkpoint import load_state
from workflows.collecting import collect
from workflows.records import State
from workflows.registry import METHODS

FEW = 2
KILLS = int(os.environ.get("CODEBOOK_KILLS", FEW))
SEED = os.environ.get("CODEBOOK_KILLS_SEED", "0")
# Of two steps; every second death comes when one more of them has been kept.
EPOCHS = KILLS // 2 + 3
# Two steps an epoch as for the others, of a quarter of the images: a network that is slow.
AGAINST_A_CRITIC = {**LARGE, "adversarial_start": 1, "train_images": 16, "batch_size": 8}
QUANTISERS: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in METHODS},
    "movq": {"method": "movq", **AGAINST_A_CRITIC, "channel_groups": 4},
    "sq_vae-vqgan": {"method": "sq_vae", **AGAINST_A_CRITIC},
    "rq_vae": {"method": "rq_vae", "residual_depth": 2},
    # What draws at random, and what has a term of its own.
    "cvq_vae-random": {"method": "cvq_vae", "anchors": "random"},
    "cvq_vae-closest-contrastive": {
        **{"method": "cvq_vae", "anchors": "closest", "contrastive": True},
    },
}
# What comes after training depends on the quantiser by its numbers alone.
AFTERWARDS = list(QUANTISERS) if KILLS > FEW else ["cvq_vae"]
EVALUATED = ("metrics.csv", "codes.csv", "reconstructions.png", "evaluation.json")
TIMING = ["images_per_second", "seconds"]


def at_random(quantiser: str, what: str) -> random.Random:
    return random.Random(f"{SEED} {quantiser} {what}")


def trained(folder: Path) -> dict[str, Any]:
    """All that a training left, but for how fast it was."""
    record = json.loads((folder / "train.json").read_text())
    log = pd.read_csv(folder / "log.csv").drop(columns=TIMING)
    kept = ("status", "steps", "epochs", "model_sha256")
    return {
        "model": (folder / "model.safetensors").read_bytes(),
        "log": log.to_csv(),
        **{key: record[key] for key in kept},
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Of each file in the folder and below, by its path, but for those that nobody would read."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(".tmp")
    }


def assert_same_after(
    call: Callable[[], Any], death: Death, folder: Path, wanted: dict[str, bytes], last: str = ""
) -> None:
    """Nothing half-written bears a name, and the next run ends with what is wanted.

    last: the file that says that all is there, which a death leaves unwritten.
    """
    assert lived(call, death) in DEATHS, death
    found = contents(folder)
    assert last not in found, death
    assert all(wanted[name] == read for name, read in found.items()), death
    assert lived(call) == 0
    assert contents(folder) == wanted


@pytest.fixture(scope="module", params=QUANTISERS)
def straight(
    request: pytest.FixtureRequest, chain: Chain, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A quantiser's name and the folder of its undisturbed training."""
    folder = tmp_path_factory.mktemp("straight")
    assert lived(training(request.param, chain, folder)) == 0
    return request.param, folder


def training(quantiser: str, chain: Chain, folder: Path) -> Any:
    knobs = {"epochs": EPOCHS, **QUANTISERS[quantiser]}
    places = ["--data", chain.data, "--out", folder, "--weights", chain.weights]
    return command("train", "--spec", spec_of(**knobs), *places, "--threads", 1)


def test_a_killed_training_ends_the_same(
    straight: tuple[str, Path], chain: Chain, tmp_path: Path
) -> None:
    quantiser, folder = straight
    chance = at_random(quantiser, "training")
    # Smaller than any of its states, which have the optimiser's moments beside.
    size = (folder / "model.safetensors").stat().st_size
    train = training(quantiser, chain, tmp_path)
    for kill in range(KILLS):
        death = (
            Death("step", 1, byte=chance.randrange(4096, size))
            if kill % 2
            else Death("step", chance.randint(3, 4))
        )
        assert lived(train, death) in DEATHS, death
        assert not (tmp_path / "train.json").exists()
        kept = load_state(tmp_path / "state" / "last.safetensors")
        assert kept is not None
        assert json.loads(kept[1]["history"])[-1]["step"] == (kill // 2 + 1) * 2
    assert lived(train) == 0
    assert trained(tmp_path) == trained(folder)
    if "network" in QUANTISERS[quantiser]:
        # Against a critic it learns all the same.
        log = pd.read_csv(folder / "log.csv")
        assert log["reconstruction"].iloc[-1] < log["reconstruction"].iloc[0]
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("straight", AFTERWARDS, indirect=True)
def test_a_killed_evaluation_gives_the_same_numbers(
    straight: tuple[str, Path], chain: Chain, tmp_path: Path
) -> None:
    quantiser, folder = straight
    chance = at_random(quantiser, "evaluation")
    evaluate = command("evaluate", *chain.evaluate("--cell", folder, "--threads", 1))
    shutil.copytree(folder, tmp_path / "trained")
    assert lived(evaluate) == 0
    wanted = contents(folder)
    assert not [name for name in wanted if name.startswith("state")]
    assert set(EVALUATED) < set(wanted)
    size = len(wanted["reconstructions.png"])
    for kill in range(KILLS):
        for name in EVALUATED:
            (folder / name).unlink()
        death = [
            Death("pass", chance.randint(1, 100)),
            Death("rename", chance.randint(1, 4)),
            Death("start", byte=chance.randrange(size)),
        ][kill % 3]
        assert_same_after(evaluate, death, folder, wanted, last="evaluation.json")
    # Outputs that were lost before they were evaluated are made again, not trained again.
    lost = tmp_path / "trained"
    for name in ("train.json", "log.csv", "model.safetensors"):
        (lost / name).unlink()
    assert lived(training(quantiser, chain, lost)) == 0
    assert (lost / "log.csv").read_bytes() == wanted["log.csv"]
    assert (lost / "model.safetensors").read_bytes() == wanted["model.safetensors"]


@pytest.mark.parametrize("straight", AFTERWARDS, indirect=True)
def test_a_killed_collection_gives_the_same_tables(
    straight: tuple[str, Path], chain: Chain, tmp_path: Path
) -> None:
    quantiser, folder = straight
    chance = at_random(quantiser, "collection")
    if not (folder / "evaluation.json").exists():
        # The other test, which does it too, may not have been asked for.
        assert lived(command("evaluate", *chain.evaluate("--cell", folder, "--threads", 1))) == 0
    record = json.loads((folder / "train.json").read_text())
    plan = {
        "budget": "smoke",
        "cells": {record["cell"]: {"folder": folder, "knobs": record["knobs"], "missing": None}},
        "rows": [{"table": "first", "row": quantiser, "cell": record["cell"]}],
        "tables": {"first": {"protocols": ["exact"]}},
    }
    gather = partial(collect, plan, {record["cell"]: State((), (), True)}, tmp_path)
    assert lived(gather) == 0
    wanted = contents(tmp_path)
    sizes = [len(read) for name, read in wanted.items() if name.endswith("measured.csv")]
    for kill in range(KILLS):
        again = kill % 4 < 2
        if not again:
            for name in wanted:
                (tmp_path / name).unlink()
        death = (
            Death("rename", chance.randint(1, len(wanted)))
            if kill % 2
            else Death("start", byte=chance.randrange(*sizes))
        )
        assert_same_after(gather, death, tmp_path, wanted)
