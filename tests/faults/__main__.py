"""Try every fault and write the table of what came of it: `python -m tests.faults`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from tests.faults.place import ROOT, Broken, copy_of, kill, make
from tests.faults.tried import FAULTS, Untried
from workflows.provenance import commit

PAGE = """# Faults and what comes of them

`make faults` makes each of these happen to a real run of a small cell in a copy of the repository,
then lets the next run go on and holds its numbers (metrics, code counts, log and the bytes of the
model) against those of an undisturbed one. This page is what it wrote. It exits with 1 where a
promise is broken: a message that names the file and the next step, nothing finished lost, nothing
half-written taken for whole, and the same numbers in the end. With `--only` some are tried again
and take their places; each row has the commit that it was tried at.

{table}

{summary}
"""


Row = tuple[str, ...]


def merged(page: Path, tried: list[Row]) -> list[Row]:
    """The page's rows with those that were tried in their places."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    old = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]
    rows = {row[:2]: row for row in (*old, *tried)}
    order = [(fault.group, fault.title) for fault in FAULTS]
    return [rows[key] for key in order if key in rows]


def main() -> int:
    """Parse the command line; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="faults whose title contains one of these")
    parser.add_argument("--out", type=Path, help="the page, such as docs/faults.md")
    arguments = parser.parse_args()
    rows = []
    head, dirty = commit()
    tried_at = f"{head}+changes" if dirty else head
    with tempfile.TemporaryDirectory(prefix="codebook-faults-") as folder:
        root = Path(folder).resolve()
        base = make(root / "base")
        done = base.run()
        if done.status:
            print(done.said)
            return 1
        wanted = base.numbers()
        for number, fault in enumerate(FAULTS):
            if arguments.only and not any(part in fault.title for part in arguments.only):
                continue
            place = copy_of(base, root / f"{number}")
            start = time.perf_counter()
            try:
                row = ("kept", fault.function(place, wanted))
            except Untried as error:
                row = ("not tried", str(error))
            except Broken as error:
                row = ("BROKEN", str(error))
            finally:
                kill(place.processes())
            seconds = time.perf_counter() - start
            rows.append((fault.group, fault.title, *row, tried_at))
            print(f"[{seconds:5.1f} s] {fault.group}: {fault.title}: {': '.join(row)}", flush=True)
            shutil.rmtree(place.root, ignore_errors=True)
    # Where the copies lay says nothing to a reader, and is elsewhere each time.
    clean = [
        tuple(" ".join(text.replace(str(root), "").replace("|", "/").split()) for text in row)
        for row in rows
    ]
    if arguments.only and arguments.out:
        clean = merged(ROOT / arguments.out, clean)
    frame = pd.DataFrame(clean, columns=["", "fault", "promise", "what came of it", "tried at"])
    counts = frame["promise"].value_counts().to_dict()
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(summary)
    if arguments.out:
        page = PAGE.format(table=frame.to_markdown(index=False), summary=summary + ".")
        (ROOT / arguments.out).write_text(page, encoding="utf-8")
    return 1 if "BROKEN" in counts else 0


if __name__ == "__main__":
    sys.exit(main())
