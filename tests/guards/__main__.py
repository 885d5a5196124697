"""Take each guard out of a copy of the repository and see its test fail: `make guards`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from tests.faults.place import ROOT, copy_tree
from tests.guards.taken import GUARDS, Guard

PAGE = """# Guards and the tests that miss them

`make guards` takes each of these guards out of a copy of the repository, one at a time, and runs
the test that holds it: passed with the guard, it must fail without. This page is what it wrote;
with `--only` some are taken out again, and their rows take their places.

{table}
"""
# Of pytest: tests ran, and some failed; an error of another kind proves nothing.
FAILED = 1


def run(root: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Those tests in that copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def outcome(root: Path, guard: Guard) -> str:
    """What the tests said without the guard. Raises AssertionError if that proves nothing."""
    whole = run(root, guard.tests)
    assert whole.returncode == 0, f"with the guard: {whole.stdout[-2000:]}"
    file = root / guard.file
    kept = file.read_text(encoding="utf-8")
    file.write_text(guard.taken_out(kept), encoding="utf-8")
    try:
        without = run(root, guard.tests)
    finally:
        file.write_text(kept, encoding="utf-8")
    assert without.returncode == FAILED, f"without the guard: {without.stdout[-2000:]}"
    return without.stdout.strip().splitlines()[-1].strip("= ").split(" in ")[0]


def merged(page: Path, taken: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The page's rows with those that were taken out in their places."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    rows = {row[0]: row for row in (*(tuple(map(str.strip, one)) for one in cells), *taken)}
    return [rows[guard.promise] for guard in GUARDS if guard.promise in rows]


def main() -> int:
    """Parse the command line; 1 if a guard was not missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="guards whose promise contains this")
    parser.add_argument("--out", type=Path, help="the page, such as docs/guards.md")
    arguments = parser.parse_args()
    rows, missed = [], True
    with tempfile.TemporaryDirectory(prefix="codebook-guards-") as folder:
        root = Path(folder).resolve() / "copy"
        copy_tree(root, results=True)
        # A test copies what git knows.
        subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
        for guard in GUARDS:
            if arguments.only not in guard.promise:
                continue
            try:
                said = outcome(root, guard)
            except AssertionError as error:
                missed, said = False, f"NOT MISSED: {error}"
            removed = f"`{guard.old.strip()}` in {guard.file}"
            test = f"{guard.tests[0]} ({guard.tests[-1]})"
            rows.append((guard.promise, removed.replace("|", "\\|"), test, said))
            print(f"{guard.promise}: {said}", flush=True)
    columns = ["promise", "taken out", "test", "what it said without"]
    if arguments.out:
        if arguments.only:
            rows = merged(ROOT / arguments.out, rows)
        table = pd.DataFrame(rows, columns=columns).to_markdown(index=False)
        (ROOT / arguments.out).write_text(PAGE.format(table=table), encoding="utf-8")
    return 0 if missed else 1


if __name__ == "__main__":
    sys.exit(main())
