"""The commit that a number is marked with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workflows.config import provenance


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the code, and with files that runs make."""
    folder = tmp_path / "project"
    made = ("results/lite/measured.csv", "figures/lite/curves.png", "benchmarks/results/step.csv")
    for name in ("Snakefile", "models/vq.py", *made):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("before", encoding="utf-8")
    commit_all(folder)
    monkeypatch.setattr(provenance, "ROOT", folder)
    return folder


def commit_all(folder: Path) -> None:
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for arguments in (["init"], ["add", "."], ["commit", "-m", "First"]):
        subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True)


def test_results_and_notes_are_no_change_of_the_code(project: Path) -> None:
    head, dirty = provenance.commit()
    assert (len(head), dirty) == (12, False)
    (project / "results/lite/measured.csv").write_text("after", encoding="utf-8")
    (project / "benchmarks/results/step.csv").write_text("after", encoding="utf-8")
    (project / "figures/lite/curves.png").unlink()
    (project / "notes.txt").touch()
    assert provenance.commit() == (head, False)


@pytest.mark.parametrize("file", ["models/vq.py", "workflows/budgets/mine.yaml", "Snakefile"])
def test_an_edited_file_and_a_new_one_are_changes(project: Path, file: str) -> None:
    """A budget or a dataset that git does not know decides numbers as much as an edited one."""
    head, _ = provenance.commit()
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    (project / file).write_text("after", encoding="utf-8")
    assert provenance.commit() == (head, True)


def test_an_archive_inside_another_repository_has_no_commit(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = project / "downloads" / "archive"
    (inner / "models").mkdir(parents=True)
    (inner / "Snakefile").touch()
    monkeypatch.setattr(provenance, "ROOT", inner)
    assert provenance.commit() == ("unknown", True)
