"""Folders that cannot be written to are found before anything runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workflows.records.run import unwritable


def test_of_closed_folders_the_outermost_that_is_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, alone = tmp_path / "results", tmp_path / "figures" / "smoke"
    for folder in (closed / "cells", alone):
        folder.mkdir(parents=True)

    def access(path: Path, mode: int) -> bool:
        # Root may write where modes say that nobody may.
        assert mode == os.W_OK | os.X_OK
        return not path.is_relative_to(closed) and path != alone

    monkeypatch.setattr(os, "access", access)
    wanted = [closed / "cells", closed / "tables" / "deep", alone, tmp_path / "logs" / "new"]
    assert unwritable(wanted) == [alone, closed]


def test_a_relative_folder_that_is_not_there_is_made_in_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unwritable([Path("results/smoke"), Path(".cache")]) == []
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert unwritable([Path("results/smoke")]) == [Path()]
