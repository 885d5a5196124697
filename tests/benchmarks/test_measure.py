"""How ratios are measured, and that the long benchmarks start; nothing is timed here."""

from __future__ import annotations

import os

import pytest

from benchmarks.measure import Row, Work, ratio, side_by_side
from workflows.config.machine import KEEPS_MEMORY

spent = [0.0]


def clock() -> float:
    return spent[0]


def work(seconds: float) -> Work:
    """Work that takes `seconds` of `clock`.

    A process that keeps its memory needs 100 times as long, and a first run 1,000 s more.
    """
    keeps = all(os.environ.get(name) == value for name, value in KEEPS_MEMORY.items())
    assert keeps != (not any(name in os.environ for name in KEEPS_MEMORY))

    def add() -> None:
        spent[0] += seconds * (100 if keeps else 1) + (0 if spent[0] else 1000)

    return add


def theirs() -> Work:
    return work(6.0)


def ours() -> Work:
    return work(2.0)


def test_each_side_has_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the variables are set in the process that measures."""
    for name in KEEPS_MEMORY:
        monkeypatch.setenv(name, "1")
    seconds = side_by_side(theirs, ours, 2, clock=clock)
    assert seconds == {"peer": 6.0, "keeping": 600.0, "ours": 200.0}
    row = ratio(seconds, "work", "peer", 0.02, "here")
    assert (row.value, row.verdict) == (0.03, "reached")
    assert row.note == "here; 3 x where the peer's process keeps its memory too"


@pytest.mark.parametrize(
    ("goal", "at_most", "verdict"),
    [(2.0, False, "reached"), (2.0, True, "short"), (None, False, "not here")],
)
def test_verdicts(goal: float | None, at_most: bool, verdict: str) -> None:
    assert Row("work", "peer", 3.0, goal, at_most=at_most).verdict == verdict


@pytest.mark.slow
def test_the_gpu_benchmark_runs_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # Imported here, because the processes of the other test load this file, too.
    from benchmarks import gpu

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    rows = list(gpu.rows(cells=1, images=32, epochs=1))
    assert [row.verdict for row in rows] == ["not here", "not here"]
    assert all(row.value > 0 for row in rows)
