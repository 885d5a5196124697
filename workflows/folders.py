"""Which folders a run cannot write to. Apart from files.py, which is part of what trains a cell."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def unwritable(folders: Iterable[Path]) -> list[Path]:
    """What must be opened before a process of this user can write to all of them, sorted.

    That is folders that are there, or the nearest above those that are not; the outermost alone.
    """
    there = {next(p for p in (folder, *folder.parents) if p.exists()) for folder in folders}
    closed = {folder for folder in there if not os.access(folder, os.W_OK | os.X_OK)}
    return sorted(folder for folder in closed if closed.isdisjoint(folder.parents))
