"""When a record fits: settings, versions, images, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import plans
from workflows.config.plan import Plan, PlannedCell
from workflows.files import digest, write_json
from workflows.records.state import Digests, State, ToMake, state, states, to_make

PREPARED = {"own": {"train": "aa", "test": "bb"}}
NAME = "own/cvq_vae/default/seed0"
PLANNED = plans.cell(method="cvq_vae", dataset="own", epochs=8).model_copy(
    update={
        "defaults": {"epochs": 500, "contrastive_weight": 1.0},
        "versions": {"method": 1, "network": 2},
    }
)
KNOBS = PLANNED.knobs.model_dump()
EVALUATED = PLANNED.evaluation.model_copy(
    update={"versions": {"PSNR": 1, "exact": 3}, "fid_images": 0, "lpips_images": 0}
)
TRAIN: dict[str, Any] = {
    **{"status": "finished", "cell": NAME, "budget": "lite", "knobs": KNOBS, "epochs": 8},
    **{"steps": 8, "versions": {"method": 1, "network": 2}, "dataset_sha256": "aa"},
    **{"images": 16, "features": {}, "model_sha256": "ca", "commit": "1234567"},
}
EVALUATION: dict[str, Any] = {
    **{"commit": "7654321", "versions": {"PSNR": 1, "exact": 3}, "protocols": ["exact"]},
    **{"fid_images": 0, "lpips_images": 0, "dataset_sha256": "bb"},
    "features": {"Inception": "cc"},
}


def recorded(
    folder: Path,
    change: Callable[[dict[str, Any], dict[str, Any]], object] = lambda train, evaluation: None,
    name: str = NAME,
) -> PlannedCell:
    """A planned cell with a record in `folder`, changed before it is written."""
    train, evaluation = copy.deepcopy({**TRAIN, "cell": name}), copy.deepcopy(EVALUATION)
    change(train, evaluation)
    write_json(folder / "train.json", train)
    for file in ("metrics.csv", "log.csv", "reconstructions.png", "samples.png", "neighbours.png"):
        (folder / file).write_text("protocol\n", encoding="utf-8")
    for file in ("model.safetensors", "progress.safetensors"):
        (folder / file).touch()
    files = {file: digest(folder / file) for file in ("train.json", "metrics.csv")}
    write_json(folder / "evaluation.json", {"files": files, **evaluation})
    return PLANNED.model_copy(update={"folder": str(folder), "evaluation": EVALUATED})


def state_of(cell: PlannedCell, prepared: Digests = PREPARED) -> State:
    """The state of the cell NAME of budget lite."""
    return state("lite", NAME, cell, prepared)


def plan_of(cells: dict[str, PlannedCell]) -> Plan:
    """A plan of these cells at budget lite."""
    return plans.plan(cells, [], budget="lite")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda train, _: train["knobs"].update(epochs=2), "epochs was 2, is 8"),
        (lambda train, _: train.update(budget="paper"), f"its record is of {NAME} at paper"),
        (lambda train, _: train.update(cell="another"), "its record is of another at lite"),
        (lambda train, _: train["versions"].update(method=0), "version of method was 0, is 1"),
        (
            lambda train, _: train.pop("versions"),
            "of an older release; make cell trains it again",
        ),
        (lambda train, _: train.update(dataset_sha256="ee"), "trained on other images"),
        (lambda train, _: train.update(images=18), "images was 18, is 16"),
        (lambda _, found: found["versions"].update(exact=2), "version of exact was 2, is 3"),
        (lambda _, found: found["versions"].pop("PSNR"), "version of PSNR was None, is 1"),
        (lambda _, found: found.update(protocols=["as_published"]), "not measured exact"),
        (lambda _, found: found.update(fid_images=128), "fid_images was 128, is 0"),
        (lambda _, found: found.update(dataset_sha256="ee"), "compared with other test images"),
        (
            lambda _, found: found.update(files={"train.json": "ee"}),
            "measured before the present train.json was made",
        ),
    ],
)
def test_a_record_of_anything_else_is_outdated(
    tmp_path: Path, change: Callable[..., object], why: str
) -> None:
    found = state_of(recorded(tmp_path, change))
    assert not found.finished
    assert why in found.outdated


@pytest.mark.parametrize(
    "change",
    [
        lambda train, _: None,
        lambda train, _: train["knobs"].pop("contrastive_weight"),
        lambda train, _: train["knobs"].update(knob_that_is_gone=3),
        lambda train, _: train.update(commit="other", lock_sha256="other", device="other"),
        lambda _, found: found.update(protocols=["as_published", "exact"]),
        lambda _, found: found["versions"].update(as_published=7),
        lambda train, found: [one.update(features={"LPIPS": "ee"}) for one in (train, found)],
    ],
    ids=[
        "nothing",
        "knob has its default",
        "knob is gone",
        "commit",
        "one protocol more",
        "its version",
        "digest of a network",
    ],
)
def test_what_changes_no_number_does_not_count(
    tmp_path: Path, change: Callable[..., object]
) -> None:
    found = state_of(recorded(tmp_path, change))
    assert found == State((), (), True)
    assert found.finished


def test_a_training_without_its_film_is_made_again(tmp_path: Path) -> None:
    planned = recorded(tmp_path).model_copy(update={"filmed": True})
    assert "its film is missing" in state_of(planned).untrained
    (tmp_path / "film.safetensors").touch()
    assert state_of(planned).finished


def test_images_that_are_not_here_count_as_the_same(tmp_path: Path) -> None:
    def other(train: dict[str, Any], evaluation: dict[str, Any]) -> None:
        train["dataset_sha256"] = evaluation["dataset_sha256"] = "ee"

    planned = recorded(tmp_path, other)
    assert state_of(planned, {}).finished
    assert not state_of(planned).finished


@pytest.mark.parametrize("text", ["", "[]", "{", '{"versions": {"method": 1}}'])
def test_a_record_that_cannot_be_read_is_outdated(tmp_path: Path, text: str) -> None:
    planned = recorded(tmp_path)
    (tmp_path / "train.json").write_text(text, encoding="utf-8")
    assert state_of(planned).outdated == "its record cannot be read"


@pytest.mark.parametrize("name", ["train.json", "log.csv", "metrics.csv", "evaluation.json"])
def test_a_cell_that_is_being_made_again_is_not_outdated(tmp_path: Path, name: str) -> None:
    """Snakemake deletes what a step is to make, and nothing is to be said of the numbers then."""
    planned = recorded(tmp_path)
    (tmp_path / name).unlink()
    found = state_of(planned)
    assert not found.finished
    assert found.outdated == ""


def diffusion(folder: Path) -> dict[str, PlannedCell]:
    """A first stage and a diffusion model on its latents, both finished."""
    cells = {"first": recorded(folder / "first", name="first")}
    second = recorded(folder / "second")
    model = plans.cell(method="ldm", dataset="own", first_stage="first", epochs=8)
    train = {
        **{**TRAIN, "cell": "second", "knobs": model.knobs.model_dump()},
        **{"progress_samples": 4, "labels_sha256": "11", "first_stage": "ca"},
    }
    write_json(folder / "second/train.json", train)
    wanted = EVALUATED.model_copy(
        update={"fid_images": None, "reference_images": 8, "progress_samples": 4}
    )
    cells["second"] = second.model_copy(update={"knobs": model.knobs, "evaluation": wanted})
    files = {"train.json": digest(folder / "second/train.json")}
    found = {**EVALUATION, "dataset_sha256": "aa", "reference_images": 8, "files": files}
    write_json(folder / "second/evaluation.json", found)
    return cells


def test_a_diffusion_model_is_outdated_with_its_first_stage(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    assert all(one.finished for one in states(plan_of(cells), PREPARED).values())
    cells["first"] = cells["first"].model_copy(update={"versions": {"method": 2}})
    found = states(plan_of(cells), PREPARED)
    assert "first stage: version of method was 1, is 2" in found["second"].outdated
    assert to_make(plan_of(cells), found).train == {"first", "second"}


def test_a_first_stage_that_was_trained_again_is_another(tmp_path: Path) -> None:
    plan = plan_of(diffusion(tmp_path))
    write_json(tmp_path / "first/train.json", {**TRAIN, "cell": "first", "model_sha256": "ff"})
    found = states(plan, PREPARED)
    assert found["second"].untrained == ("trained on another first stage",)
    assert "first" not in to_make(plan, found).train


def test_labels_count_where_a_model_is_asked_for_a_class(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    prepared = {"own": {**PREPARED["own"], "labels": "22"}}
    assert states(plan_of(cells), prepared)["second"].finished
    cells["second"] = plans.changed(cells["second"], conditional=True)
    found = states(plan_of(cells), prepared)["second"]
    assert "trained with other labels" in found.outdated


def test_samples_of_other_settings_are_outdated(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    wanted = {"sampling": {"guidance": 1.0}, "sampling_versions": {"sampling": 1}}
    evaluation = cells["second"].evaluation.model_copy(update=wanted)
    cell = cells["second"].model_copy(update={"evaluation": evaluation})
    made = {"status": "finished", "guidance": 1.0, "versions": {"sampling": 1}}
    for change, why in (
        ({}, ""),
        ({"guidance": 2.0}, "guidance was 2.0, is 1.0"),
        ({"versions": {"sampling": 9}}, "version of sampling was 9, is 1"),
    ):
        write_json(tmp_path / "second/sampling.json", {**made, **change})
        assert state("lite", "second", cell, PREPARED).outdated == why
    # A model that diverged has no samples.
    write_json(tmp_path / "second/sampling.json", {"status": "diverged"})
    assert state("lite", "second", cell, PREPARED).finished


def test_what_is_made_follows_from_what_is_missing(tmp_path: Path) -> None:
    cells = diffusion(tmp_path)
    plan = plan_of(cells)
    found = states(plan, PREPARED)
    assert to_make(plan, found) == ToMake()
    # A diffusion model is of the first stage that its latents come from.
    assert to_make(plan, found, lambda name: name == "first").train == {"first", "second"}
    assert to_make(plan, found, lambda name: name == "second").train == {"second"}
    # A new metric: a model that is here is measured again, and one that is gone trained again.
    (tmp_path / "second/evaluation.json").unlink()
    second, latents = frozenset({"second"}), frozenset({"first/latents.safetensors"})
    made = to_make(plan, states(plan, PREPARED))
    assert made == ToMake(sample=second, evaluate=second, latents=latents)
    (tmp_path / "first/model.safetensors").unlink()
    made = to_make(plan, states(plan, PREPARED))
    assert made.train == {"first", "second"}
    gone = {name: cell.model_copy(update={"missing": "get it"}) for name, cell in cells.items()}
    assert to_make(plan_of(gone), states(plan_of(gone), PREPARED)).evaluate == set()


def test_samples_and_latents_of_the_present_model_are_kept(tmp_path: Path) -> None:
    """As after a kill while samples were measured."""
    cells = diffusion(tmp_path)
    (tmp_path / "second/evaluation.json").unlink()
    second = tmp_path / "second"
    for name in ("samples.npy", "progress.npy", "noise.npy"):
        (second / name).touch()
    knobs, versions = {"sampling_steps": 5}, {"sampling": 1}
    wanted = {"sampling": knobs, "sampling_versions": versions}
    evaluation = cells["second"].evaluation.model_copy(update=wanted)
    cells["second"] = cells["second"].model_copy(update={"evaluation": evaluation})
    sampled = {"status": "finished", "model_sha256": "ca", "versions": versions, **knobs}
    header = json.dumps({"__metadata__": {"model": "ca", "dataset": "aa"}}).encode()
    latents = tmp_path / "first/latents.safetensors"

    def made() -> ToMake:
        return to_make(plan_of(cells), states(plan_of(cells), PREPARED))

    write_json(second / "sampling.json", sampled)
    latents.write_bytes(len(header).to_bytes(8, "little") + header)
    kept = ToMake(evaluate=frozenset({"second"}))
    assert made() == kept
    for change in ({"model_sha256": "other"}, {"sampling_steps": 6}, {"versions": {}}):
        write_json(second / "sampling.json", {**sampled, **change})
        assert made().sample == {"second"}, change
    write_json(second / "sampling.json", sampled)
    (second / "samples.npy").unlink()
    assert made().sample == {"second"}
    (second / "samples.npy").touch()
    assert made() == kept
    for content in (b"", header, latents.read_bytes().replace(b'"ca"', b'"cb"')):
        latents.write_bytes(content)
        assert made().latents == {"first/latents.safetensors"}, content
