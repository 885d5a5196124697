"""What is found before anything runs: folders, targets and surroundings that will not do."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from workflows.config.machine import environment_of_jobs
from workflows.errors import ConfigError
from workflows.records.run import Run
from workflows.records.state import State

CELL = "mnist_5k/cvq_vae/default/seed0"
OF_LITE = "mnist/cvq_vae/default/seed0"


@pytest.fixture(scope="module")
def run() -> Run:
    """A run of the default budget that makes every cell."""
    return Run({"retrain": True})


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            f"results/lite/cells/{OF_LITE}/metrics.csv",
            "is of budget lite, and this run is of budget embedded; use snakemake --cores 8 "
            f"--config budget=lite -- results/lite/cells/{OF_LITE}/metrics.csv",
        ),
        ("figures/lite/codevectors.gif", "--config budget=lite -- figures/lite/codevectors.gif"),
        ("results/lite/tables/methods.md", "--config budget=lite -- results/lite/tables/"),
        (f"results/embedded/cells/{OF_LITE}/log.csv", "has no cell .* use --config budget=lite"),
        (
            "results/embedded/cells/mnist_5k/cvq_vae/defualt/seed0/log.csv",
            f"did you mean {CELL}",
        ),
    ],
)
def test_a_file_that_this_run_cannot_make_is_refused_with_what_to_do(
    run: Run, file: str, said: str
) -> None:
    for target in (file, f"figures/../{file}", str(Path(file).absolute())):
        with pytest.raises(ConfigError, match=said):
            run.refuse(["all_cells", target])


def test_an_empty_target_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match="a target is empty; allowed: a rule or a file"):
        run.refuse([""])


def test_files_that_rules_make_are_not_refused(run: Run) -> None:
    made = [f"cells/{CELL}/metrics.csv", "tables/methods.md", "measured.csv"]
    run.refuse([*(f"results/embedded/{name}" for name in made), "results/published/methods.csv"])


def test_cells_that_no_table_shows_are_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in run.grid.rows if row.cell != CELL]
    monkeypatch.setattr(run, "grid", dataclasses.replace(run.grid, rows=rows))
    file = f"results/embedded/cells/{CELL}/evaluation.json"
    assert file in run.records_of()
    assert file not in run.records_of("methods")


def run_with(state: State, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of the default budget in which every cell has this state."""
    monkeypatch.setattr(
        "workflows.records.run.states", lambda plan, _: dict.fromkeys(plan.cells, state)
    )
    return Run({})


def test_a_file_of_a_finished_cell_is_refused_with_how_to_train_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As in a fresh clone, whose images are not prepared yet.
    monkeypatch.setattr("workflows.records.run.is_prepared", lambda folder: False)
    run, folder = run_with(State(), monkeypatch), f"results/embedded/cells/{CELL}"
    said = f"^{CELL} is finished, .*: make cell BUDGET=embedded CELL={CELL}$"
    with pytest.raises(ConfigError, match=said):
        run.refuse([f"{folder}/metrics.csv"])
    # Another cell may need the latents of a finished first stage.
    run.refuse([f"{folder}/latents.safetensors"])


def test_a_file_of_a_cell_without_its_dataset_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workflows.records.run.is_prepared", lambda folder: False)
    monkeypatch.setattr("workflows.records.run.absence", lambda dataset: "fetch it")
    run = run_with(State(("not trained",)), monkeypatch)
    with pytest.raises(ConfigError, match=f"^{CELL}: dataset 'mnist_5k': fetch it$"):
        run.refuse([f"results/embedded/cells/{CELL}/metrics.csv"])


def test_a_cell_of_another_budget_is_not_trained_again() -> None:
    with pytest.raises(ConfigError, match="use --config budget=lite"):
        Run({"retrain": OF_LITE})


def test_a_folder_that_is_no_clone_is_refused_with_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="run Snakemake in its clone: cd /"):
        Run({})


def test_jobs_have_one_interpreter_the_clones_code_and_a_users_name() -> None:
    clone, python = Path("/it's a/clone"), Path(sys.executable)
    given = {"PATH": "/other/bin", "PYTHONPATH": "/mine"}
    made = environment_of_jobs(clone, python, given)
    assert made["PATH"] == f"{python.parent}:/other/bin"
    assert made["PYTHONPATH"] == "/it's a/clone:/mine"
    assert made["USER"] == str(os.getuid())
    assert environment_of_jobs(clone, python, {"USER": "me"})["USER"] == "me"
    assert environment_of_jobs(clone, python, {})["PATH"] == str(python.parent)
    for folders in ((Path("/a:b"), python), (clone, Path("/a:b/bin/python"))):
        with pytest.raises(ConfigError, match=r"/a:b.*rename or move the folder"):
            environment_of_jobs(*folders, given)
