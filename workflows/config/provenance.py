"""Where a number comes from: commit, lock, device."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflows.files import digest

ROOT = Path(__file__).parents[2]
# What numbers follow from, as git's pathspecs.
CODE = ["Snakefile", "models", "baselines", "workflows", "requirements.lock"]
CODE += ["benchmarks", ":(exclude)benchmarks/results"]


def commit() -> tuple[str, bool]:
    """The commit that this code comes from, and whether any of its files is changed or new.

    ("unknown", True) without git, and where the code is no part of the repository around it, such
    as an unpacked archive inside another project's clone.
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        _git("ls-files", "--error-unmatch", "Snakefile")
        return head, bool(_git("status", "--porcelain", "--", *CODE))
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown", True


def _git(*arguments: str) -> str:
    """What git prints. Raises CalledProcessError, or FileNotFoundError where there is no git."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.strip()


def made_by(commits: Iterable[str]) -> str:
    """Commits that results are of, in words: how many, and the latest with its date."""
    known = sorted({commit for commit in commits if re.fullmatch("[0-9a-f]{7,40}", commit)})
    if not known:
        return "of unknown commits"
    try:
        show = ["log", "--no-walk=sorted", "--format=%h %cs", "--ignore-missing", *known]
        lines = _git(*show).splitlines()
    except (FileNotFoundError, subprocess.CalledProcessError):
        lines = []
    latest = ", ".join(lines[0].split()) if lines else known[0]
    return f"commit {latest}" if len(known) == 1 else f"{len(known)} commits, latest {latest}"


def lock() -> str:
    """The SHA-256 of the file that pins every package, 64 hexadecimal digits."""
    return digest(ROOT / "requirements.lock")


def origin(device: str, threads: int) -> dict[str, Any]:
    """What every record says of the process that made it: commit, dirty, lock, device, threads."""
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "lock_sha256": lock(),
        "device": device,
        "threads": threads,
    }
