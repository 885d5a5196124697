"""What is written down for the tables: every row, also of datasets that a budget has not got."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from workflows.cells import listing, status
from workflows.data import describe, names
from workflows.grid import Grid, budgets_by_role, budgets_by_table, load_grid
from workflows.planning import PAPER, filmed, plan
from workflows.render.plan import Plan, length
from workflows.verdicts import load_claims

DATASETS = {name: describe(name) for name in names()}


def grid_of(budget: str) -> Grid:
    return load_grid(budget, DATASETS)


def plan_of(budget: str, missing: dict[str, str] | None = None) -> dict:
    grid = grid_of(budget)
    claims = load_claims(grid)
    elsewhere = budgets_by_role(), budgets_by_table()
    return plan(grid, "cells/{cell}", DATASETS, missing or {}, *elsewhere, claims)


def test_a_dataset_that_a_budget_lacks_keeps_its_rows() -> None:
    absent = {(one["table"], one["dataset"]): one for one in plan_of("embedded")["absent"]}
    large = absent["large_codebooks", "cifar10"]
    assert len(large["rows"]) == 5
    assert large["note"] == "not at this budget; budgets lite and paper have it"
    assert absent["reinitialisation", "ffhq"] == {
        "table": "reinitialisation",
        "dataset": "ffhq",
        "rows": ["near codevectors", "hard encoded features", "running average"],
        "note": "not at this budget; budgets lite and paper have a dataset for it",
    }


def test_every_role_is_served_by_some_budget() -> None:
    found = budgets_by_role()
    assert set(found) == set(PAPER)
    assert list(found["digits"]) == ["embedded", "lite", "paper", "smoke"]
    assert found["faces"] == {"lite": "ffhq_subset_64", "paper": "ffhq"}


def test_a_dataset_that_the_machine_lacks_says_what_to_do() -> None:
    cells = plan_of("lite", {"cifar10": "fetch it"})["cells"]
    assert cells["cifar10/sq_vae/default/seed0"]["missing"] == "fetch it"
    assert cells["mnist/sq_vae/default/seed0"]["missing"] is None


def test_the_renderer_asks_for_nothing_else() -> None:
    assert {field.name for field in fields(Plan)} == set(plan_of("lite"))


def test_the_renderer_reads_it() -> None:
    read = Plan.of(json.loads(json.dumps(plan_of("lite"))))
    assert read.datasets_of("reinitialisation") == ["mnist", "cifar10", "ffhq_subset_64"]
    assert read.training_of("methods", "mnist") == [(58000, 16)]
    assert read.training_of("reinitialisation", "ffhq_subset_64") == [(900, 16)]
    assert read.trained("methods", "mnist") == "16 epochs over 58,000 images at batch 16"
    generated = "6 to 20 epochs over 24,000 images at batch 8 or 64"
    assert read.trained("generation_ffhq_imagenet", "cifar10") == generated
    latents = read.trained("generation_ffhq_imagenet", "cifar10", ["RQ-VAE-LDM"])
    assert latents == "20 epochs over 24,000 images at batch 64"
    # A row whose first stage was trained for less than the others' says so, with its networks.
    asked = "generation_ffhq_imagenet", "cifar10"
    longer, shorter = read.first_stages_of(
        *asked, ["DDPM (trained here)", "RQ-VAE-LDM", "MoVQ-LDM"]
    )
    assert longer == "RQ-VAE-LDM: first stage of 8 epochs over 48,000 images at batch 16"
    start = "MoVQ-LDM: first stage of 3 epochs over 48,000 images at batch 16, VQGAN of "
    assert shorter.startswith(start)
    alone = read.first_stages_of(*asked, ["RQ-VAE-LDM"])
    assert alone == ["First stage of 8 epochs over 48,000 images at batch 16"]
    assert read.first_stages_of(*asked, ["DDPM (trained here)"]) == []
    assert read.first_stages_of("methods", "mnist", ["SQ-VAE"]) == []
    assert length([1], [(900, 8)]) == "1 epoch over 900 images at batch 8"
    sizes = [(400, 16), (900, 8), (900, 64)]
    over = "400 images at batch 16 or 900 images at batch 8 or 64"
    assert length([2, 4], sizes) == f"2 to 4 epochs over {over}"


@pytest.mark.parametrize("budget", ["smoke", "lite"])
def test_cells_in_the_plane_are_filmed_and_no_others(budget: str) -> None:
    grid = grid_of(budget)
    shown = [name for name, cell in grid.cells.items() if filmed(cell.knobs)]
    assert [grid.tables_of(name) for name in shown] == [["two_dimensions"]] * 2
    # By the same distance: cosine would leave nothing of the plane but angles.
    assert {grid.cells[name].knobs["distance"] for name in shown} == {"l2"}


def test_labels_follow_the_budget_of_a_sweep() -> None:
    assert grid_of("smoke").labels("code_dimension") == [
        f"{method}, D = {dim}" for method in ("VQ-VAE", "SQ-VAE", "CVQ-VAE") for dim in (4, 64)
    ]


def test_every_cell_is_listed_with_its_tables() -> None:
    grid = grid_of("embedded")
    frame = listing(grid).set_index("cell")
    assert set(frame.index) == set(grid.cells)
    # A first stage counts for the tables of the models that diffuse its latents.
    assert frame.loc["mnist_5k/vq_vae/D4/seed0", "tables"] == (
        "code_dimension, first_stages, generation_ffhq_imagenet"
    )
    assert (frame["tables"] != "").all()


def test_status_tells_how_far_each_cell_is(tmp_path: Path) -> None:
    grid, planned = grid_of("smoke"), plan_of("smoke")
    names = list(grid.cells)[:4]
    for name, cell in planned["cells"].items():
        cell["folder"] = str(tmp_path / name)
    folders = [tmp_path / name for name in names]
    record = {"epoch": 0.5, "loss": 1.25, "usage": 0.1, "images_per_second": 300.0}
    for folder in folders:
        (folder / "state").mkdir(parents=True)
    progress = json.dumps({**record, "seconds_left": 90})
    (folders[0] / "state" / "progress.json").write_text(progress)
    (folders[1] / "train.json").write_text('{"versions": {"method": 1}}')
    (folders[1] / "log.csv").write_text("epoch,loss,usage,images_per_second\n")
    (folders[2] / "train.json").write_text("{}")
    # Cells 0 and 2 were measured before; cell 0 is trained again.
    for folder in (folders[0], folders[2]):
        (folder / "metrics.csv").write_text("")
    frame = status(grid, planned, tmp_path / ".cache").set_index("cell")
    assert frame.loc[names[0]].to_dict() == {
        "state": "in training or interrupted",
        "epoch": "0.5/1",
        "loss": "1.25",
        "usage": "10.0%",
        "images/s": "300",
        "minutes left": "1.5",
    }
    assert frame.loc[names[1], "state"] == "trained"
    assert frame.loc[names[2], "state"] == "outdated: made before there were versions"
    assert frame.loc[names[3], ["state", "epoch"]].to_list() == ["not started", "0/1"]
    assert len(frame) == len(grid.cells)
