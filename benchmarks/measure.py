"""Rows of the benchmark, and how a ratio is taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


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


def ratio(
    peer: Callable[[], object],
    ours: Callable[[], object],
    rounds: int,
    clock: Clock = time.process_time,
) -> float:
    """How many times faster `ours` is: the ratio of medians of interleaved runs, after one of each.

    clock: CPU seconds for work of one thread, which others on the machine disturb least.
    """
    spent: dict[str, list[float]] = {"peer": [], "ours": []}
    for turn in range(rounds + 1):
        for name, work in (("peer", peer), ("ours", ours)):
            start = clock()
            work()
            if turn:
                spent[name].append(clock() - start)
    return statistics.median(spent["peer"]) / statistics.median(spent["ours"])
