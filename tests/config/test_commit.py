"""The commit that a number is marked with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workflows.config import provenance


def test_code_that_differs_is_a_change_and_a_result_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *own, *arguments], cwd=tmp_path, check=True, capture_output=True)

    made = ("results/lite/measured.csv", "figures/lite/curves.png", "benchmarks/results/step.csv")
    for name in ("code.py", *made):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    git("init")
    git("add", ".")
    git("commit", "-m", "First")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    head, dirty = provenance.commit()
    assert (len(head), dirty) == (12, False)
    (tmp_path / "results/lite/measured.csv").write_text("after")
    (tmp_path / "benchmarks/results/step.csv").write_text("after")
    (tmp_path / "figures/lite/curves.png").unlink()
    (tmp_path / "untracked.txt").write_text("")
    assert provenance.commit() == (head, False)
    (tmp_path / "code.py").write_text("after")
    assert provenance.commit() == (head, True)
