"""The benchmark of the default budget, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import embedded
from workflows.files import write_json, write_text


def test_first_all_tables_but_those_of_generation() -> None:
    first = embedded.of_autoencoders("smoke")
    assert "results/smoke/tables/methods.md" in first
    assert "results/smoke/tables/code_dimension.md" in first
    assert "figures/smoke/dimensionality.svg" in first
    assert not [name for name in first if "generation" in name or "first_stages" in name]
    assert not [name for name in first if "samples" in name or "progress" in name]


def test_seconds_of_every_training_and_evaluation_are_added(tmp_path: Path) -> None:
    for cell, seconds in (("a/seed0", 20.0), ("b/seed0", 30.0)):
        write_json(tmp_path / "cells" / cell / "train.json", {"seconds": seconds})
        write_text(tmp_path / "logs" / cell / "evaluate.log", f"[{cell}] evaluated in 7.5 s\n")
    assert embedded.useful(tmp_path / "cells", tmp_path / "logs") == pytest.approx(65)


def test_a_cell_that_was_not_evaluated_is_not_overlooked(tmp_path: Path) -> None:
    write_json(tmp_path / "cells" / "a" / "train.json", {"seconds": 20.0})
    with pytest.raises(AssertionError):
        embedded.useful(tmp_path / "cells", tmp_path / "logs")


def test_the_copy_has_the_tracked_files_alone(tmp_path: Path) -> None:
    folder = embedded.copied(tmp_path)
    assert (folder / "Snakefile").exists()
    assert not (folder / ".venv").exists()
