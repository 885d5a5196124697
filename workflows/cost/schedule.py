"""How long jobs take on so many devices: bounds, by list scheduling (Graham 1969)."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflows.cost.jobs import Job


@dataclass(frozen=True)
class Chain:
    """Jobs that wait for each other, in order, and their seconds in all."""

    names: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Bounds:
    """at_least: seconds below which no schedule gets. listed: of one that is carried out, in which
    a free device takes the waiting job with the longest chain behind it.
    """

    at_least: float
    listed: float


def longest_chain(jobs: Sequence[Job], seconds: Mapping[str, float]) -> Chain:
    """The chain that takes longest; nothing is done before it is."""
    best: dict[str, Chain] = {}
    for job in _in_order(jobs):
        before = max((best[name] for name in job.after), key=lambda c: c.seconds, default=None)
        names, spent = (before.names, before.seconds) if before else ((), 0.0)
        best[job.name] = Chain((*names, job.name), spent + seconds[job.name])
    return max(best.values(), key=lambda chain: chain.seconds)


def bounds(jobs: Sequence[Job], seconds: Mapping[str, float], devices: int, gpus: bool) -> Bounds:
    """Of all jobs on so many devices. gpus: jobs that need none run beside them, on processors."""
    taking = {job.name for job in jobs if job.on_gpu or not gpus}
    total = sum(seconds[name] for name in taking)
    chain = longest_chain(jobs, seconds).seconds
    return Bounds(max(total / devices, chain), _listed(jobs, seconds, devices, taking))


def _listed(
    jobs: Sequence[Job], seconds: Mapping[str, float], devices: int, taking: set[str]
) -> float:
    followers: dict[str, list[str]] = {job.name: [] for job in jobs}
    for job in jobs:
        for name in job.after:
            followers[name].append(job.name)
    behind: dict[str, float] = {}
    for job in reversed(_in_order(jobs)):
        rest = max((behind[name] for name in followers[job.name]), default=0.0)
        behind[job.name] = seconds[job.name] + rest
    missing = {job.name: len(job.after) for job in jobs}
    ready = [(-behind[name], name) for name, count in missing.items() if not count]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now, free = 0.0, devices
    waiting: list[tuple[float, str]] = []
    while ready or waiting or running:
        while ready:
            priority, name = heapq.heappop(ready)
            if name in taking:
                heapq.heappush(waiting, (priority, name))
            else:
                heapq.heappush(running, (now + seconds[name], name))
        while free and waiting:
            _, name = heapq.heappop(waiting)
            heapq.heappush(running, (now + seconds[name], name))
            free -= 1
        now, done = heapq.heappop(running)
        free += done in taking
        for name in followers[done]:
            missing[name] -= 1
            if not missing[name]:
                heapq.heappush(ready, (-behind[name], name))
    return now


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Every job behind those that it waits for. Raises KeyError for one that there is not."""
    known, done = {job.name: job for job in jobs}, dict[str, Job]()

    def visit(job: Job) -> None:
        for name in job.after:
            if name not in done:
                visit(known[name])
        done.setdefault(job.name, job)

    for job in jobs:
        visit(job)
    return list(done.values())
