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

    value: in `unit`. goal: the least value that is enough, or the largest if `at_most`; None if
    this machine cannot show it, and `note` says why.
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
        if self.goal is None:
            return "not here"
        reached = self.value <= self.goal if self.at_most else self.value >= self.goal
        return "reached" if reached else "short"


def ratio(seconds: Mapping[str, float], work: str, peer: str, goal: float, note: str = "") -> Row:
    """Return how many times faster our side of `side_by_side` is than the peer."""
    keeping = seconds["keeping"] / seconds["ours"]
    memory_note = f"{keeping:.3g} x where the peer's process keeps its memory too"
    note = f"{note}; {memory_note}" if note else memory_note
    return Row(work, peer, seconds["peer"] / seconds["ours"], goal, note=note)


def side_by_side(
    peer: Side, ours: Side, rounds: int, threads: int = 1, clock: Clock = time.process_time
) -> dict[str, float]:
    """Return the median seconds of both sides, timed in turns in processes of their own.

    The keys are `peer`, in a process as users start it; `keeping`, the peer in a process that keeps
    the memory it frees, as the workflow's processes do; and `ours`, in such a process. clock: CPU
    seconds by default, which other processes disturb least if the work has one thread.
    """
    sides = {"peer": (peer, {}), "keeping": (peer, KEEPS_MEMORY), "ours": (ours, KEEPS_MEMORY)}
    environment = {name: value for name, value in os.environ.items() if name not in KEEPS_MEMORY}
    environment["OMP_NUM_THREADS"] = str(threads)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with ExitStack() as stack:
        pools = {}
        for name, (side, memory) in sides.items():
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            pools[name] = stack.enter_context(pool)
            # The pool starts its process at the first task, with the environment of that moment.
            with mock.patch.dict(os.environ, {**environment, **memory}, clear=True):
                pool.submit(_prepare, side).result()
        for _ in range(rounds + 1):
            for name, pool in pools.items():
                seconds[name].append(pool.submit(_time, clock).result())
    # The first round warms up.
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


_work: list[Work] = []


def _prepare(side: Side) -> None:
    _work.append(side())


def _time(clock: Clock) -> float:
    start = clock()
    _work[0]()
    return clock() - start
