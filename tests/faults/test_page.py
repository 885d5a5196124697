"""docs/faults.md is of the faults that are tried, and says that every promise was kept."""

from __future__ import annotations

from tests.faults.place import ROOT
from tests.faults.tried import FAULTS


def test_the_page_has_every_fault_and_no_broken_promise() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    table = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in row[:3]) for row in table[2:]]
    assert [row[:2] for row in rows] == [(fault.group, fault.title) for fault in FAULTS]
    assert {promise for *_, promise in rows} <= {"kept", "not tried"}
