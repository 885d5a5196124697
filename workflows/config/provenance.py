"""Where a number comes from: commit, lock, device."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# What runs make, as git's pathspecs.
OUTPUTS = (":(exclude)results", ":(exclude)figures", ":(exclude)benchmarks/results")


def commit() -> tuple[str, bool]:
    """The checked-out commit and whether tracked files differ; ("unknown", True) outside git.

    What runs and benchmarks make, results and figures, does not count: it changes no run.
    """
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", *OUTPUTS],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "unknown", True
    if head.returncode:
        return "unknown", True
    return head.stdout.strip(), bool(status.stdout.strip())


def made_by(commits: Iterable[str]) -> str:
    """Commits that results are of, in words: how many, and the latest with its date."""
    known = sorted({commit for commit in commits if re.fullmatch("[0-9a-f]{7,40}", commit)})
    if not known:
        return "of unknown commits"
    show = ["git", "log", "--no-walk=sorted", "--format=%h %cs", "--ignore-missing", *known]
    try:
        done = subprocess.run(show, cwd=ROOT, capture_output=True, text=True)
        lines = done.stdout.splitlines() if not done.returncode else []
    except FileNotFoundError:
        lines = []
    latest = ", ".join(lines[0].split()) if lines else known[0]
    return f"commit {latest}" if len(known) == 1 else f"{len(known)} commits, latest {latest}"


def lock() -> str:
    """The SHA-256 of the file that pins every package, 64 hexadecimal digits."""
    return hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()


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
