"""The benchmark at the published size: its parts, without a network of that size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import published_size
from benchmarks.published_size import Place, finish
from benchmarks.same_numbers import kill_after_an_epoch
from workflows.data import describe, names
from workflows.grid import load_grid


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_peak_is_that_of_the_process(tmp_path: Path) -> None:
    least = finish(python("pass"), tmp_path / "log")
    most = finish(python(f"b'1' * {least + 300} * 2**20"), tmp_path / "log")
    assert 300 <= most - least < 350


def test_a_failure_is_shown_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such knob"):
        finish(python("raise SystemExit('no such knob')"), tmp_path / "log")


def test_a_training_is_ended_once_its_state_is_kept(tmp_path: Path) -> None:
    state, late = tmp_path / "state" / "last.safetensors", tmp_path / "late"
    state.parent.mkdir()
    code = f"import time; open({str(state)!r}, 'w'); time.sleep(60); open({str(late)!r}, 'w')"
    kill_after_an_epoch(python(code), tmp_path)
    assert state.exists()
    assert not late.exists()


def test_a_training_that_ends_before_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended by itself"):
        kill_after_an_epoch(python("pass"), tmp_path)


def test_cells_are_those_of_the_published_budget_but_for_their_length(tmp_path: Path) -> None:
    grid = load_grid(published_size.BUDGET, {name: describe(name) for name in names()})
    place = Place(tmp_path, tmp_path, tmp_path)
    for name in published_size.CELLS:
        cell = grid.cell(name)
        line = place.training(cell, "straight")
        knobs = json.loads(line[line.index("--spec") + 1])["knobs"]
        changed = {key for key in knobs if knobs[key] != cell.knobs[key]}
        assert {"batch_size", "epochs"} <= changed <= set(published_size.SHORT)
        assert ("--latents" in line) == (cell.first_stage is not None)


def test_photographs_have_the_published_size() -> None:
    found = published_size.photographs()
    assert found.shape == (published_size.IMAGES + published_size.HELD, 3, 256, 256)
    assert found.dtype == "uint8"
