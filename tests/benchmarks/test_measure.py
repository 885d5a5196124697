"""Each side of a ratio is in the surroundings that its column is of; nothing is timed here."""

from __future__ import annotations

import os

import pytest

from benchmarks.measure import Work, side_by_side
from workflows.allocator import KEEPS_MEMORY

spent = [0.0]


def clock() -> float:
    """What the works of this process have added to it."""
    return spent[0]


def work(seconds: float) -> Work:
    """A hundred times as long where the process keeps its memory; longer at its first run."""
    keeps = all(os.environ.get(name) == value for name, value in KEEPS_MEMORY.items())
    none = not any(name in os.environ for name in KEEPS_MEMORY)
    assert keeps != none

    def add() -> None:
        spent[0] += seconds * (100 if keeps else 1) + (0 if spent[0] else 1000)

    return add


def theirs() -> Work:
    return work(6.0)


def ours() -> Work:
    return work(2.0)


@pytest.mark.parametrize("inherited", [False, True])
def test_the_peer_is_as_its_users_start_it(
    inherited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where whoever measures has set the variables."""
    for name in KEEPS_MEMORY:
        if inherited:
            monkeypatch.setenv(name, "1")
        else:
            monkeypatch.delenv(name, raising=False)
    found = side_by_side(theirs, ours, 2, clock)
    assert (found.peer, found.keeping, found.ours) == (6.0, 600.0, 200.0)
    row = found.row("work", "peer", 0.02, "here")
    assert (row.value, row.verdict) == (0.03, "reached")
    assert row.note == "here; 3 x where the peer's process keeps its memory too"
