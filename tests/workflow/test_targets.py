"""What Snakemake would make of what, and which targets it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.place import Done, Place, copy_tree

BUDGET = "smoke"
# Made of all tables, figures and verdicts.
SITE = f"results/{BUDGET}/site"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the repository without results."""
    root = tmp_path_factory.mktemp("workflow") / "copy"
    copy_tree(root)
    return Place(root)


def ask(place: Place, *targets: str) -> Done:
    """Snakemake's answer to a request for files of the smoke budget; nothing is run."""
    command = [str(place.root / ".venv/bin/snakemake"), "--cores", "1", "--dry-run"]
    return place.command_here([*command, "--config", f"budget={BUDGET}", "--", *targets])


def jobs(place: Place, *targets: str) -> dict[str, dict[str, Any]]:
    """What runs for those files where nothing is made yet, by its message."""
    command = [sys.executable, "-m", "tests.slurm.planned", "--cores", "1", "--forceall"]
    done = place.command_here([*command, "--config", f"budget={BUDGET}", "--", *targets])
    assert done.status == 0, done.said
    found = [json.loads(line) for line in done.said.splitlines() if line.startswith("{")]
    return {job["message"]: job for job in found}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (".cache/datasets/mnst/dataset.json", "no dataset 'mnst'; did you mean mnist, "),
    ],
)
def test_a_mistyped_target_is_refused_by_name(place: Place, target: str, said: str) -> None:
    done = ask(place, target)
    assert done.status == 1
    assert done.says(said, "allowed: ")
    assert "KeyError" not in done.said


def test_rules_name_what_their_steps_read(place: Place) -> None:
    found = jobs(place, SITE)
    files = (place.root / "results" / "published").glob("*.csv")
    published = {str(file.relative_to(place.root)) for file in files}
    assert len(published) > 4
    showing = {m: job for m, job in found.items() if m.startswith(("Table", "Site"))}
    assert len(showing) == 12 + 1
    for message, job in showing.items():
        assert published <= set(job["inputs"]), message
    prepared = {f".cache/datasets/mnist_5k/{part}.npy" for part in ("train", "test", "labels")}
    cell = "mnist_5k/cvq_vae/default/seed0"
    for message in (f"Train {cell}", f"Evaluate {cell}", "Train mnist_5k/ddpm/conditional/seed0"):
        assert prepared <= set(found[message]["inputs"]), message


def test_nothing_that_is_about_to_be_made_is_overlooked() -> None:
    """An ancient input that this very run makes would hide what depends on it."""
    root = Path(__file__).parents[2]
    for file in [root / "Snakefile", *(root / "workflows/rules").glob("*.smk")]:
        assert "ancient(" not in file.read_text(encoding="utf-8"), file
