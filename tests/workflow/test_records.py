"""When a record fits: settings, versions, images, metric networks, and nothing else."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workflows.files import digest, write_json
from workflows.records import State, Today, state, states, to_make

ROOT = Path(__file__).parents[2]
IMAGES = {"own": {"train": "aa", "test": "bb"}}
NETWORKS = frozenset({"cc", "dd"})
TODAY = Today(IMAGES, NETWORKS)
KNOBS = {"dataset": "own", "method": "cvq_vae", "seed": 0, "epochs": 8, "new_knob": 1.5}
NAME = {"cell": "own/cvq_vae/default/seed0", "budget": "lite"}
PLANNED: dict[str, Any] = {
    **NAME,
    "knobs": KNOBS,
    "defaults": {"epochs": 500, "new_knob": 1.5},
    "stage": 1,
    "missing": None,
    "versions": {"method": 1, "network": 2},
    "images": 16,
    "evaluation": {
        "protocols": ["exact"],
        "versions": {"PSNR": 1, "exact": 3},
        "fid_images": 0,
        "lpips_images": 0,
    },
}
TRAIN: dict[str, Any] = {
    **NAME,
    "knobs": KNOBS,
    "versions": {"method": 1, "network": 2},
    "dataset_sha256": "aa",
    "images": 16,
    "features": {},
    "commit": "1234567",
}
EVALUATION: dict[str, Any] = {
    "commit": "7654321",
    "versions": {"PSNR": 1, "exact": 3},
    "protocols": ["exact"],
    "fid_images": 0,
    "lpips_images": 0,
    "dataset_sha256": "bb",
    "features": {"Inception": "cc"},
}


def recorded(
    folder: Path,
    change: Callable[[dict[str, Any], dict[str, Any]], object] = lambda train, evaluation: None,
) -> dict[str, Any]:
    """A planned cell with a record in `folder`, changed before it is written."""
    train, evaluation = copy.deepcopy(TRAIN), copy.deepcopy(EVALUATION)
    change(train, evaluation)
    write_json(folder / "train.json", train)
    for name in ("metrics.csv", "log.csv", "reconstructions.png", "samples.png", "neighbours.png"):
        (folder / name).write_text("protocol\n", encoding="utf-8")
    for name in ("model.safetensors", "progress.safetensors"):
        (folder / name).touch()
    files = {name: digest(folder / name) for name in ("train.json", "metrics.csv")}
    write_json(folder / "evaluation.json", {"files": files, **evaluation})
    return {**PLANNED, "folder": str(folder)}


def test_a_record_of_today_is_finished(tmp_path: Path) -> None:
    found = state(recorded(tmp_path), TODAY)
    assert found == State((), (), True, "7654321")
    assert found.finished
    assert found.outdated == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda train, _: train["knobs"].update(epochs=2), "epochs was 2, is 8"),
        (lambda train, _: train.update(budget="paper"), "budget was paper, is lite"),
        (lambda train, _: train.update(cell="another"), "cell was another, is own/cvq_vae"),
        (lambda train, _: train["versions"].update(method=0), "version of method was 0, is 1"),
        (lambda train, _: train.pop("versions"), "made before there were versions"),
        (lambda train, _: train.update(dataset_sha256="ee"), "trained on other images"),
        (lambda train, _: train.update(images=18), "trained on 18 images, is 16"),
        (
            lambda train, _: train.update(features={"VGG": "ee"}),
            "trained with other metric networks",
        ),
        (lambda _, found: found["versions"].update(exact=2), "version of exact was 2, is 3"),
        (lambda _, found: found["versions"].pop("PSNR"), "version of PSNR was None, is 1"),
        (lambda _, found: found.update(protocols=["as_published"]), "not measured exact"),
        (lambda _, found: found.update(fid_images=128), "fid_images was 128, is 0"),
        (lambda _, found: found.update(dataset_sha256="ee"), "compared with other test images"),
        (lambda _, found: found.update(features={"LPIPS": "ee"}), "measured with other metric"),
        (
            lambda _, found: found.update(files={"train.json": "ee"}),
            "measured before the present train.json was made",
        ),
    ],
)
def test_a_record_of_anything_else_is_outdated(
    tmp_path: Path, change: Callable[..., object], why: str
) -> None:
    found = state(recorded(tmp_path, change), TODAY)
    assert not found.finished
    assert why in found.outdated


@pytest.mark.parametrize(
    "change",
    [
        lambda train, _: train["knobs"].pop("new_knob"),
        lambda train, _: train["knobs"].update(knob_that_is_gone=3),
        lambda train, _: train.update(commit="other", lock_sha256="other", device="other"),
        lambda _, found: found.update(protocols=["as_published", "exact"]),
        lambda _, found: found["versions"].update(as_published=7),
    ],
    ids=["knob has its default", "knob is gone", "commit", "one protocol more", "its version"],
)
def test_what_changes_no_number_does_not_count(
    tmp_path: Path, change: Callable[..., object]
) -> None:
    assert state(recorded(tmp_path, change), TODAY).finished


def test_a_training_without_its_film_is_made_again(tmp_path: Path) -> None:
    planned = {**recorded(tmp_path), "filmed": True}
    assert "its film is missing" in state(planned, TODAY).untrained
    (tmp_path / "film.safetensors").touch()
    assert state(planned, TODAY).finished


def test_images_and_networks_that_are_not_here_count_as_the_same(tmp_path: Path) -> None:
    def other(train: dict[str, Any], evaluation: dict[str, Any]) -> None:
        train["dataset_sha256"] = evaluation["dataset_sha256"] = "ee"
        evaluation["features"] = {"Inception": "ee"}

    planned = recorded(tmp_path, other)
    assert state(planned, Today()).finished
    assert not state(planned, TODAY).finished


@pytest.mark.parametrize("text", ["", "[]", "{", '{"versions": {"method": 1}}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    planned = recorded(tmp_path)
    (tmp_path / "train.json").write_text(text, encoding="utf-8")
    assert not state(planned, TODAY).finished


@pytest.mark.parametrize("name", ["train.json", "log.csv", "metrics.csv", "evaluation.json"])
def test_a_cell_that_is_being_made_again_is_not_outdated(tmp_path: Path, name: str) -> None:
    """Snakemake deletes what a step is to make, and nothing is to be said of the numbers then."""
    planned = recorded(tmp_path)
    (tmp_path / name).unlink()
    found = state(planned, TODAY)
    assert not found.finished
    assert found.outdated == ""


def diffusion(folder: Path) -> dict[str, dict[str, Any]]:
    """A first stage and a diffusion model on its latents, both finished."""
    cells = {"first": recorded(folder / "first")}
    cells["second"] = recorded(folder / "second")
    knobs = {**KNOBS, "first_stage": "first"}
    train = {**TRAIN, "knobs": knobs}
    write_json(folder / "second/train.json", train)
    evaluation = {"reference_images": 8, "sampling": {}, "sampling_versions": {}}
    cells["second"] |= {
        "knobs": knobs,
        "stage": 2,
        "evaluation": {**PLANNED["evaluation"], **evaluation},
    }
    files = {"train.json": digest(folder / "second/train.json")}
    found = {**EVALUATION, "dataset_sha256": "aa", "reference_images": 8, "files": files}
    write_json(folder / "second/evaluation.json", found)
    return cells


def test_a_diffusion_model_is_outdated_with_its_first_stage(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    assert all(one.finished for one in states(cells, TODAY).values())
    cells["first"] = {**cells["first"], "versions": {"method": 2}}
    found = states(cells, TODAY)
    assert "first stage: version of method was 1, is 2" in found["second"].outdated
    made = to_make(cells, found)
    assert made.train == {"first", "second"}


def test_a_first_stage_that_was_trained_again_is_another(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    write_json(tmp_path / "first/train.json", {**TRAIN, "model_sha256": "ff"})
    found = states(cells, TODAY)
    assert found["second"].untrained == ("trained on another first stage",)
    assert "first" not in to_make(cells, found).train


def test_labels_count_where_a_model_is_asked_for_a_class(tmp_path: Path) -> None:
    planned = recorded(tmp_path, lambda train, _: train.update(labels_sha256="11"))
    today = Today({"own": {**IMAGES["own"], "labels": "22"}}, NETWORKS)
    assert state(planned, today).finished
    asked = {**planned, "knobs": {**KNOBS, "conditional": True}}
    asked["defaults"] = {**planned["defaults"], "conditional": True}
    assert "trained with other labels" in state(asked, today).outdated


def test_what_is_made_follows_from_what_is_missing(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    found = states(cells, TODAY)
    nothing = to_make(cells, found)
    assert (nothing.train, nothing.evaluate, nothing.first_stages) == (set(), set(), set())
    # A diffusion model is of the first stage that its latents come from.
    assert to_make(cells, found, lambda name: name == "first").train == {"first", "second"}
    assert to_make(cells, found, lambda name: name == "second").train == {"second"}
    # A new metric: a model that is here is measured again, and one that is gone trained again.
    (tmp_path / "second/evaluation.json").unlink()
    made = to_make(cells, states(cells, TODAY))
    assert (made.train, made.evaluate, made.first_stages) == (set(), {"second"}, {"first"})
    (tmp_path / "first/model.safetensors").unlink()
    made = to_make(cells, states(cells, TODAY))
    assert made.train == {"first", "second"}
    cells = {name: {**cell, "missing": "get it"} for name, cell in cells.items()}
    assert to_make(cells, states(cells, TODAY)).evaluate == set()


STATES = """
import json, sys
from pathlib import Path
from workflows.records import Today, states
cells = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
found = states(cells, Today())
print(json.dumps({name: [one.finished, one.outdated, one.commit] for name, one in found.items()}))
assert "torch" not in sys.modules and "pandas" not in sys.modules
"""


def run_states(python: str, file: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Print the states of the cells in `file` by another Python."""
    return subprocess.run(
        [python, "-c", STATES, str(file)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def test_states_are_the_same_under_every_python(tmp_path: Path) -> None:
    cells = {f"lite {number}": recorded(tmp_path / str(number)) for number in range(2)}
    cells["other"] = recorded(tmp_path / "other", lambda train, _: train["knobs"].update(epochs=2))
    file = tmp_path / "cells.json"
    file.write_text(json.dumps(cells), encoding="utf-8")
    found = {}
    for name in ("python3.11", "python3.12", "python3.13", sys.executable):
        if shutil.which(name) is None:
            continue
        done = run_states(name, file)
        versions = re.findall(r"^  (3\.[0-9.]+)$", done.stderr, re.MULTILINE)
        if versions:
            # pyenv has this version, but another one is chosen here.
            done = run_states(name, file, PYENV_VERSION=versions[0])
        assert done.returncode == 0, done.stderr
        found[name] = done.stdout
    assert len(set(found.values())) == 1
    assert '"other": [false, "epochs was 2, is 8"' in found[sys.executable]
