"""Rows of the benchmark, and how a ratio is taken."""

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

from workflows.allocator import KEEPS_MEMORY

Clock = Callable[[], float]
Work = Callable[[], object]
# Makes what is timed, in the process that does it; a function of a module, to be found from there.
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
        if self.goal is None or self.value != self.value:
            return "not here"
        enough = self.value <= self.goal if self.at_most else self.value >= self.goal
        return "reached" if enough else "short"


@dataclass(frozen=True)
class Seconds:
    """Medians. peer: in a process as the system starts it. keeping: the same in one that keeps its
    memory, as ours does in the workflow. ours: in such a one.
    """

    peer: float
    keeping: float
    ours: float

    def row(self, work: str, peer: str, goal: float, note: str = "") -> Row:
        """How many times faster ours is than the peer as its users run it, and beside it than the
        peer in our surroundings, which is what is left without the page faults.
        """
        like = f"{self.keeping / self.ours:.3g} x where the peer's process keeps its memory too"
        return Row(
            work, peer, self.peer / self.ours, goal, note="; ".join(filter(None, (note, like)))
        )


def side_by_side(peer: Side, ours: Side, rounds: int, clock: Clock = time.process_time) -> Seconds:
    """Medians of runs that take turns, after one of each.

    Every side has a process of its own, as memory is handled the way a process was started with.
    clock: CPU seconds for work of one thread, which others on the machine disturb least.
    """
    sides = {"peer": (peer, {}), "keeping": (peer, KEEPS_MEMORY), "ours": (ours, KEEPS_MEMORY)}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(_process(side, environment))
            for name, (side, environment) in sides.items()
        }
        for turn in range(rounds + 1):
            for name, pool in pools.items():
                seconds = pool.submit(_timed, clock).result()
                if turn:
                    spent[name].append(seconds)
    return Seconds(**{name: statistics.median(times) for name, times in spent.items()})


def _process(side: Side, environment: Mapping[str, str]) -> ProcessPoolExecutor:
    """One process that has prepared its work."""
    kept = {name: value for name, value in os.environ.items() if name not in KEEPS_MEMORY}
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare, (side,))
    with mock.patch.dict(os.environ, {**kept, **environment}, clear=True):
        # A pool starts its process at its first task.
        pool.submit(_timed, time.process_time, idle=True).result()
    return pool


_work: list[Work] = []


def _prepare(side: Side) -> None:
    _work.append(side())


def _timed(clock: Clock, idle: bool = False) -> float:
    start = clock()
    if not idle:
        _work[0]()
    return clock() - start
