"""Real runs on a tiny grid: an edit makes again what it changes, in one run, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workflow.tiny import (
    CELLS,
    DATASET,
    EXPERIMENT,
    SETTINGS,
    TARGETS,
    Tiny,
    copied,
    draw,
    make,
    with_own_data,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A tiny grid that has run to its end."""
    tiny = make(tmp_path_factory.mktemp("edits") / "first")
    assert "0 cells from records, 2 to make" in tiny.run()
    tiny.settled()
    assert sorted(tiny.models()) == sorted(CELLS)
    return tiny


@pytest.fixture
def tiny(finished: Tiny, tmp_path: Path) -> Tiny:
    """A copy of it to edit."""
    return copied(finished, tmp_path / "copy")


def test_the_cache_of_another_checkout_stands_for_no_cell(finished: Tiny, tmp_path: Path) -> None:
    fresh = copied(finished, tmp_path / "fresh", "tiny", ".snakemake")
    fresh.write("budgets/tiny.yaml", SETTINGS)
    target = f"results/tiny/cells/{CELLS[0]}/metrics.csv"
    fresh.run(targets=(target,))
    assert (fresh.root / target).is_file()
    assert list(fresh.models()) == [CELLS[0]]


def test_records_without_models_count_as_finished(finished: Tiny, tmp_path: Path) -> None:
    fresh = copied(finished, tmp_path / "fresh", "model.safetensors", ".snakemake", ".cache")
    before = fresh.models()
    assert "Nothing to be done" in fresh.run("--dry-run", targets=("all_cells",))
    again = fresh.call(targets=("all_cells",), config=(f"retrain={CELLS[1]}",))
    assert again.returncode == 0, again.stdout
    assert "1 cell from records (commit " in again.stdout
    after = fresh.models()
    assert after[CELLS[0]] == before[CELLS[0]]
    assert after[CELLS[1]][0] == before[CELLS[1]][0]
    assert after[CELLS[1]][1] > before[CELLS[1]][1]
    fresh.run()
    fresh.settled()


def test_code_of_the_same_version_makes_nothing_again(tiny: Tiny) -> None:
    """A renamed variable, a comment and a module of another name."""
    blends, loop = "models/quantiser/blends.py", "workflows/training/stage1.py"
    tiny.edit(
        blends, "counts = count(codes, len(self.usage))", "hits = count(codes, len(self.usage))"
    )
    tiny.edit(blends, "add_(counts / len(codes)", "add_(hits / len(codes)")
    tiny.edit(loop, "def steps_per_epoch(", "# A comment.\ndef steps_per_epoch(")
    room = tiny.root / "models/quantiser"
    (room / "blends.py").rename(room / "mixes.py")
    for file in [*room.glob("*.py"), tiny.root / "workflows/registry.py"]:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("quantiser.blends", "quantiser.mixes"), encoding="utf-8")
    tiny.settled()


def test_files_that_were_only_touched_train_nothing(tiny: Tiny) -> None:
    tiny = with_own_data(tiny)
    before = tiny.models()
    for file in (tiny.data / "squares").iterdir():
        os.utime(file)
    said = tiny.run()
    assert "Prepare the images of own" in said
    assert tiny.models() == before
    tiny.settled()


def test_other_pixels_of_the_same_name_train_again(tiny: Tiny) -> None:
    tiny = with_own_data(tiny)
    before = tiny.models()
    draw(tiny.data / "squares", "003.png", 1003)
    assert f"Evaluate {CELLS[0]}" in tiny.run("--dry-run")
    tiny.run()
    after = tiny.models()
    assert all(after[cell][0] != before[cell][0] for cell in CELLS)
    tiny.settled()


def test_a_knob_and_a_role_at_once(tiny: Tiny) -> None:
    source = {"kind": "local", "files": ["more"]}
    more = {"name": "more", "images": {"train": 16, "test": 8}, "sources": [source]}
    tiny.write("datasets/more.yaml", {**DATASET, **more})
    (tiny.data / "more").mkdir()
    for number in range(24):
        draw(tiny.data / "more", f"{number:03d}.png", 500 + number)
    roles = {**SETTINGS["roles"], "natural": "more"}
    knobs = {**SETTINGS["knobs"], "epochs": 2}
    tiny.write("budgets/tiny.yaml", {**SETTINGS, "roles": roles, "knobs": knobs})
    tiny.write("experiments/methods.yaml", {**EXPERIMENT, "roles": ["digits", "natural"]})
    tiny.commit()
    tiny.run()
    assert len(tiny.models()) == 4
    assert {tiny.record(cell)["knobs"]["epochs"] for cell in tiny.models()} == {2}
    tiny.settled()


def convert_otherwise(tiny: Tiny) -> None:
    """Convert the metric networks' weights to other tensors, as another version does."""
    tiny.edit("workflows/data/weight_sources.py", "VERSION = 1", "VERSION = 2")
    other = "{name: value * 1.5 for name, value in weights.tensors.items()}"
    tiny.edit("workflows/steps/weights.py", "weights.tensors, {", f"{other}, {{")


def test_a_knob_and_the_metric_networks_at_once(tiny: Tiny) -> None:
    before = tiny.record(CELLS[0], "evaluation.json")["features"]
    convert_otherwise(tiny)
    tiny.write("budgets/tiny.yaml", {**SETTINGS, "knobs": {**SETTINGS["knobs"], "code_dim": 5}})
    tiny.commit()
    tiny.run()
    for cell in CELLS:
        assert tiny.record(cell)["knobs"]["code_dim"] == 5
        assert tiny.record(cell, "evaluation.json")["features"].values() != before.values()
    tiny.settled()


def test_metric_networks_alone_measure_again_and_train_nothing(tiny: Tiny) -> None:
    before = tiny.models()
    convert_otherwise(tiny)
    tiny.commit()
    said = tiny.run()
    assert f"Evaluate {CELLS[0]}" in said
    assert tiny.models() == before
    tiny.settled()


def test_a_protocol_and_a_dataset_at_once(tiny: Tiny) -> None:
    before = tiny.models()
    tiny.edit("workflows/protocols/exact.yaml", "version: 1", "version: 2")
    tiny.write("datasets/own.yaml", {**DATASET, "validation": 6})
    tiny.commit()
    tiny.run()
    after = tiny.models()
    assert all(after[cell][1] > before[cell][1] for cell in CELLS)
    versions = tiny.record(CELLS[0], "evaluation.json")["versions"]
    assert versions["exact"] == 2
    tiny.settled()


def test_a_version_makes_again_what_uses_it(tiny: Tiny) -> None:
    before = tiny.models()
    entry = '"vq_vae": Method(_vq_vae, Nearest'
    tiny.edit("workflows/registry.py", f"{entry})", f"{entry}, version=2)")
    tiny.commit()
    assert "1 cell from records" in tiny.run()
    after = tiny.models()
    assert after[CELLS[0]] == before[CELLS[0]]
    assert after[CELLS[1]][1] > before[CELLS[1]][1]
    tiny.settled()


def test_a_cell_that_there_is_not_is_refused_with_the_nearest(tiny: Tiny) -> None:
    target = "results/tiny/cells/own/cvq_vae/defualt/seed0/metrics.csv"
    done = tiny.call(targets=(target,))
    assert done.returncode == 1
    assert f"did you mean {CELLS[0]}" in done.stdout
    done = tiny.call(targets=TARGETS, config=("retrain=own/cvq_vae/defualt/seed0",))
    assert done.returncode == 1
    assert f"did you mean {CELLS[0]}" in done.stdout
