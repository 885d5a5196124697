"""What Snakemake would make of what, and which targets it refuses."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.workflow.tiny import Tiny, copy_tree

BUDGET = "smoke"
# Made of all tables, figures and verdicts.
SITE = f"results/{BUDGET}/site"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A copy of the repository without results, and an empty folder of data."""
    root = tmp_path_factory.mktemp("workflow")
    copy_tree(root / "copy")
    return Tiny(root / "copy", root)


def ask(copy: Tiny, module: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Snakemake's answer to a request for files of the smoke budget; nothing is run."""
    config = ("--cores", "1", "--config", f"budget={BUDGET}")
    return copy.python("-m", module, *config, *options)


def jobs(copy: Tiny, *targets: str) -> dict[str, dict[str, Any]]:
    """What runs for those files where nothing is made yet, by its message."""
    done = ask(copy, "tests.slurm.planned", "--forceall", "--", *targets)
    assert done.returncode == 0, done.stdout
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {job["message"]: job for job in found}


def test_what_cannot_be_made_is_refused_by_name_and_the_profile_is_read(copy: Tiny) -> None:
    reference = ".cache/reference/mnst/test-exact-v1.1-8.safetensors"
    done = ask(copy, "snakemake", "--dry-run", "--", reference)
    assert done.returncode == 1
    said = "dataset 'mnst' is unknown; did you mean mnist, "
    assert any(said in line and "allowed: " in line for line in done.stdout.splitlines())
    assert "Using workflow specific profile profiles/default" in done.stdout


def test_rules_name_what_their_steps_read(copy: Tiny) -> None:
    found = jobs(copy, SITE)
    files = (copy.root / "results" / "published").glob("*.csv")
    published = {str(file.relative_to(copy.root)) for file in files}
    assert len(published) > 4
    showing = {m: job for m, job in found.items() if m.startswith(("Table", "Site"))}
    tables = list((copy.root / "workflows/experiments").glob("*.yaml"))
    assert len(showing) == len(tables) + 1
    for message, job in showing.items():
        assert published <= set(job["inputs"]), message
    cell = "photo_patches/cvq_vae/default/seed0"
    for message in (f"Train {cell}", f"Evaluate {cell}", "Train photo_patches/ddpm/default/seed0"):
        folder = f".cache/datasets/{message.split()[1].split('/')[0]}"
        prepared = {f"{folder}/{part}.npy" for part in ("train", "test", "labels")}
        assert prepared <= set(found[message]["inputs"]), message
