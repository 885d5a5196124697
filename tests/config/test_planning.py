"""The plan has every row, also of datasets that the budget lacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import plans
from tests.config.test_refused import room, spoil
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.names import RUN_METRICS
from workflows.config.plan import find_plan
from workflows.config.planning import make_plan
from workflows.errors import ConfigError
from workflows.files import write_json

__all__ = ["room"]
DATASETS = read_datasets()


def test_a_dataset_that_a_budget_lacks_keeps_its_rows() -> None:
    plan = plans.real("embedded")
    absent = {(one.table, one.dataset): one for one in plan.absent}
    large = absent["large_codebooks", "cifar10"]
    assert large.rows == plan.tables["large_codebooks"].published_rows
    assert large.note == "not at this budget; budgets that have it: lite, paper"
    faces = absent["reinitialisation", "ffhq"]
    assert faces.rows == ["near codevectors", "hard encoded features", "running average"]
    assert faces.note == "not at this budget; budgets that have it: lite, paper"


def test_a_dataset_that_the_machine_lacks_says_what_to_do() -> None:
    plan = make_plan(load_grid("lite", DATASETS), DATASETS, {"cifar10": "fetch it"})
    assert plan.cells["cifar10/sq_vae/default/seed0"].missing == "fetch it"
    assert plan.cells["mnist/sq_vae/default/seed0"].missing is None
    assert plan.missing == {"cifar10": "fetch it"}


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = make_plan(load_grid("lite", DATASETS), DATASETS, {"cifar10": "fetch it"})
    file = tmp_path / "plan.json"
    assert find_plan(file) is None
    write_json(file, plan.model_dump(mode="json"))
    assert find_plan(file) == plan
    write_json(file, {"title": "of another release"})
    assert find_plan(file) is None


@pytest.mark.parametrize("budget", ["smoke", "lite"])
def test_cells_in_the_plane_are_filmed_and_no_others(budget: str) -> None:
    plan = plans.real(budget)
    shown = [name for name, cell in plan.cells.items() if cell.filmed]
    assert {*shown} == {row.cell for row in plan.lines_of("two_dimensions")}
    # By the same distance: cosine would leave nothing of the plane but angles.
    assert {plan.knobs(name).model_dump()["distance"] for name in shown} == {"l2"}


def test_nothing_is_filmed_without_codevectors(room: Path) -> None:
    rows = [{"row": "a", "method": "autoencoder", "code_dim": 2}]
    spoil(room / "experiments/two_dimensions.yaml", {"rows": rows})
    plan = make_plan(load_grid("smoke", DATASETS, room), DATASETS, {}, room=room)
    assert "photo_patches/autoencoder/D2/seed0" in plan.cells
    assert not any(cell.filmed for cell in plan.cells.values())


def test_a_plan_says_which_metrics_images_are_too_small_for(room: Path) -> None:
    spoil(room / "datasets/mnist.yaml", {"image_size": 8})
    datasets = read_datasets(room)
    tiny = make_plan(load_grid("lite", datasets, room), datasets, {}, room=room)
    needs = {"SSIM": 11, "LPIPS": 16, "LPIPS-Alex": 31}
    assert tiny.datasets["mnist"].too_small_for == needs
    plan = plans.real("lite")
    assert plan.datasets["mnist"].too_small_for == {"LPIPS-Alex": 31}
    assert plan.datasets["cifar10"].too_small_for == {}


def test_a_plan_has_the_figures_of_its_rows_and_of_all_tables() -> None:
    plan = plans.real("paper")
    assert "usage_quality" in plan.figures
    assert "training_length" not in plan.figures


def test_what_a_training_reports_is_not_measured_on_frozen_latents(room: Path) -> None:
    measured = ["PSNR", "error", "perplexity", "usage"]
    spoil(room / "experiments/frozen_latents.yaml", {"metrics": [*measured, *RUN_METRICS]})
    plan = make_plan(load_grid("smoke", DATASETS, room), DATASETS, {}, room=room)
    cells = {line.cell for line in plan.lines_of("frozen_latents")}
    assert cells
    assert all(plan.cells[cell].evaluation.metrics == measured for cell in cells)


def test_labels_follow_the_budget_of_a_sweep() -> None:
    grid = load_grid("smoke", DATASETS)
    rows = [row.row for row in grid.tables["code_dimension"].rows]
    assert grid.labels("code_dimension") == [f"{row}, D = {dim}" for row in rows for dim in (4, 64)]


def test_a_claim_twice_is_refused(room: Path) -> None:
    shutil.copy(room / "claims" / "anchors.yaml", room / "claims" / "again.yaml")
    with pytest.raises(ConfigError, match="two claims have this id"):
        make_plan(load_grid("smoke", DATASETS, room), DATASETS, {}, room=room)
