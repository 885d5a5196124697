"""Where a number comes from: the commit, the lock and the device."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflows.files import digest

ROOT = Path(__file__).parents[2]
# The files that decide numbers, as pathspecs of git.
CODE = ["Snakefile", "models", "baselines", "workflows", "requirements.lock"]
CODE += ["benchmarks", ":(exclude)benchmarks/results"]


def commit() -> tuple[str, bool]:
    """Return the commit of this code, and whether any of the files in CODE is changed or new.

    Return ("unknown", True) without git, and if the code is not part of the repository around it,
    as in an archive that was unpacked inside another clone.
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        _git("ls-files", "--error-unmatch", "Snakefile")
        return head, bool(_git("status", "--porcelain", "--", *CODE))
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown", True


def _git(*arguments: str) -> str:
    """Return the output of git. Raises CalledProcessError, or FileNotFoundError without git."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.strip()


def made_by(commits: Iterable[str]) -> str:
    """Return a phrase that says how many commits there are, and names the latest with its date."""
    known = sorted({commit for commit in commits if re.fullmatch("[0-9a-f]{7,40}", commit)})
    if not known:
        return "of unknown commits"
    show = ["log", "--no-walk=sorted", "--format=%h %cs", "--ignore-missing", *known]
    try:
        lines = _git(*show).splitlines()
    except (FileNotFoundError, subprocess.CalledProcessError):
        lines = []
    latest = ", ".join(lines[0].split()) if lines else known[0]
    return f"commit {latest}" if len(known) == 1 else f"{len(known)} commits, latest {latest}"


def origin(device: str, threads: int) -> dict[str, Any]:
    """Return the fields by which every record names the process that made the record."""
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "lock_sha256": digest(ROOT / "requirements.lock"),
        "device": device,
        "threads": threads,
    }
