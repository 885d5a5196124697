"""What is said of cells: the tables and figures they feed, and how far each of them is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests import plans
from workflows.files import write_json
from workflows.records.cells import (
    FINISHED,
    MISSING,
    OUTDATED,
    RUNNING,
    TRAINED,
    WAITING,
    listing,
    lock,
    progress,
    status,
)
from workflows.records.state import states


def test_every_cell_is_listed_with_its_tables_and_figures() -> None:
    plan = plans.real("embedded")
    frame = listing(plan).set_index("cell")
    assert set(frame.index) == set(plan.cells)
    # A first stage counts for the tables of the models that diffuse its latents.
    assert frame.loc["mnist_5k/vq_vae/D4/seed0"].to_dict() == {
        "tables": "code_dimension, first_stages, generation_ffhq_imagenet",
        "figures": "dimensionality, samples_ffhq_imagenet, progress_ffhq_imagenet, "
        "neighbours_ffhq_imagenet",
    }
    assert (frame["tables"] != "").all()


def test_a_reader_may_stop_reading_the_list() -> None:
    command = f"{sys.executable} -m workflows.records.cells list --budget lite | head -1"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("cell ")
    assert run.stderr == ""


def test_status_tells_how_far_each_cell_is(tmp_path: Path) -> None:
    plan = plans.real("smoke", str(tmp_path))
    names = [name for name, cell in plan.cells.items() if cell.stage == 1][:5]
    gone = {names[4]: plan.cells[names[4]].model_copy(update={"missing": "fetch\nit"})}
    plan = plan.model_copy(update={"cells": {**plan.cells, **gone}})
    folders = [Path(plan.cells[name].folder) for name in names]
    # Cells 0 and 2 were measured before; cell 0 is trained again.
    for folder in (folders[0], folders[2]):
        (folder / "state").mkdir(parents=True)
        (folder / "metrics.csv").write_text("")
    now = {"epoch": 0.5, "epochs": 1, "loss": 1.25, "seconds_left": 90.0, "usage": 0.1}
    write_json(folders[0] / "state" / "progress.json", now)
    record = {
        **{"status": "finished", "budget": "smoke", "knobs": {}, "epochs": 1, "steps": 3},
        **{"dataset_sha256": "aa", "images": plan.cells[names[1]].images, "seconds": 30.0},
    }
    write_json(folders[1] / "train.json", {**record, "cell": names[1], "versions": {"method": 1}})
    write_json(folders[2] / "train.json", {**record, "cell": names[2]})
    lines = progress(plan, states(plan, {})).set_index("cell")
    assert lines.loc[names, "state"].tolist() == [RUNNING, TRAINED, OUTDATED, WAITING, MISSING]
    assert lines.loc[names, "note"].tolist() == [
        "epoch 0.5/1, loss 1.25, 1.5 minutes left, as of 0 minutes ago",
        "",
        "of an older release; make cell trains it again",
        "",
        f"{plan.cells[names[4]].knobs.dataset}: fetch it",
    ]
    assert list(lines.index) == list(plan.cells)


def test_status_counts_and_groups_what_is_many() -> None:
    lines = [(f"a{n}", OUTDATED, "epochs was 2, is 8") for n in range(9)]
    lines += [(f"b{n}", RUNNING, f"epoch {n}") for n in range(8)]
    lines += [("c", FINISHED, ""), ("d", WAITING, "")]
    text = status(pd.DataFrame(lines, columns=["cell", "state", "note"]))
    assert [line.split() for line in text.splitlines()[:4]] == [
        ["1", "finished"],
        ["9", "outdated"],
        ["9", *["epochs", "was", "2,", "is", "8"]],
        ["8", *RUNNING.split()],
    ]
    assert "b5: epoch 5" in text
    assert "b6" not in text
    assert "and 2 more (make status ALL=1 shows every cell)" in text


def test_a_lock_is_told_with_what_removes_it(tmp_path: Path) -> None:
    assert lock(tmp_path / "locks") == ""
    (tmp_path / "locks").mkdir()
    assert lock(tmp_path / "locks") == ""
    (tmp_path / "locks" / "0.input.lock").touch()
    assert "`snakemake --unlock` removes it" in lock(tmp_path / "locks")
