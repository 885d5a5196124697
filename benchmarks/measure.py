"""Rows of the benchmark, and how a ratio is measured."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

from workflows.config.machine import KEEPS_MEMORY

Clock = Callable[[], float]
Work = Callable[[], object]
# Prepares the work in the process that is timed, so it must be picklable.
Side = Callable[[], Work]


@dataclass(frozen=True)
class Row:
    """One measured claim.

    value: in `unit`. goal: the least that is enough, or the most if `at_most`; None where this
    machine cannot show it, and `note` says why.
    """

    work: str
    peer: str
    value: float
    goal: float | None
    unit: str = "x"
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Reached, short, or not measured here."""
        if self.goal is None:
            return "not here"
        enough = self.value <= self.goal if self.at_most else self.value >= self.goal
        return "reached" if enough else "short"


def ratio(seconds: Mapping[str, float], work: str, peer: str, goal: float, note: str = "") -> Row:
    """How many times faster ours is than the peer; the note has the ratio to `keeping`."""
    keeping = seconds["keeping"] / seconds["ours"]
    both = f"{keeping:.3g} x where the peer's process keeps its memory too"
    note = f"{note}; {both}" if note else both
    return Row(work, peer, seconds["peer"] / seconds["ours"], goal, note=note)


def side_by_side(
    peer: Side, ours: Side, rounds: int, threads: int = 1, clock: Clock = time.process_time
) -> dict[str, float]:
    """Median seconds of both sides, timed in turns in processes of their own.

    Returns `peer`, in a process as users start it; `keeping`, the peer in a process that keeps the
    memory it frees, as the workflow's processes do; and `ours`, in such a process. clock: CPU
    seconds for work of one thread, which other processes of the machine disturb least.
    """
    sides = {"peer": (peer, {}), "keeping": (peer, KEEPS_MEMORY), "ours": (ours, KEEPS_MEMORY)}
    kept = {name: value for name, value in os.environ.items() if name not in KEEPS_MEMORY}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with ExitStack() as stack:
        pools = {}
        for name, (side, memory) in sides.items():
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            pools[name] = stack.enter_context(pool)
            # A pool starts its process, which alone reads these, at its first task.
            environment = {**kept, **memory, "OMP_NUM_THREADS": str(threads)}
            with mock.patch.dict(os.environ, environment, clear=True):
                pool.submit(_prepare, side).result()
        for _ in range(rounds + 1):
            for name, pool in pools.items():
                seconds[name].append(pool.submit(_timed, clock).result())
    # The first round warms up.
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


_work: list[Work] = []


def _prepare(side: Side) -> None:
    _work.append(side())


def _timed(clock: Clock) -> float:
    start = clock()
    _work[0]()
    return clock() - start
