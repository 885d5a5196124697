"""What a budget takes: `python -m workflows.records.cost --budget NAME`. It runs nothing."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from workflows import cli
from workflows.config.datasets import Dataset, read_datasets
from workflows.config.grid import Grid, load_grid
from workflows.config.planning import make_plan
from workflows.cost import (
    GB,
    RATES,
    Records,
    Step,
    Training,
    estimate,
    network_seconds,
    parameters,
    read_records,
    too_much,
)
from workflows.errors import ConfigError
from workflows.knobs import Diffusion
from workflows.records.state import Today, states
from workflows.registry import code_dim

# What a job is given beside its estimate: for imports and a busy file system, and for the
# libraries. A limit must not end a healthy training on a slow or shared machine, hence the factor.
START_MINUTES, START_MEGABYTES, MARGIN = 10, 2000, 8.0
# Bytes of an image's Inception features.
FEATURES = 8192


@dataclass(frozen=True)
class Budget:
    """Estimates of the steps of a grid on a "cpu" core or a "gpu"."""

    grid: Grid
    datasets: Mapping[str, Dataset]
    device: str
    records: Records

    def step(self, kind: str, name: str) -> Step:
        """Return one step of a dataset or a cell."""
        found = self.of_cell(name) if name in self.grid.cells else self.of_dataset(name)
        return next(step for step in found if step.kind == kind)

    def of_dataset(self, name: str) -> list[Step]:
        """Return the steps that prepare a dataset and its features for one protocol and samples."""
        about = self.datasets[name]
        pixels = (about.images.train + about.images.test) * about.image_size**2
        tests, train = self._tests(about, "fid_images"), self._compared(about)
        # Pictures are resized on a processor before Inception sees them.
        inception = RATES["inception"] / self._speed + about.image_size**2 * RATES["decode"]
        return [
            Step("prepare", name, pixels * RATES["decode"], disk=pixels * about.channels),
            Step("reference", name, tests * inception, disk=tests * FEATURES),
            Step("training_reference", name, train * inception, disk=train * FEATURES),
        ]

    def of_cell(self, name: str) -> list[Step]:
        """Return the steps of a cell, each of which waits for the one before."""
        cell = self.grid.cells[name]
        about = self.datasets[cell.dataset]
        side, images = about.image_size, about.trained
        images = min(images, cell.knobs.train_images or images)
        if cell.stage == 1:
            work = Training(cell.knobs, side, images)
            train = estimate(name, work, self.device, self.records)
            return [train, self._latents(name, about), self._evaluate(name, about)]
        first = self.grid.cells[cell.first_stage].knobs if cell.first_stage else None
        grid_side = side if first is None else math.ceil(side / getattr(first, "downsampling", 4))
        progress = self.grid.budget.generation.progress_samples
        work, knobs = Training(cell.knobs, grid_side, images, progress), cell.knobs
        assert isinstance(knobs, Diffusion)
        passes = knobs.sampling_steps * (1 if knobs.guidance == 1 else 2)
        made = knobs.samples * passes * network_seconds(knobs, grid_side) / 3
        if first is not None:
            made += (knobs.samples + 6 * progress) * network_seconds(first, side) / 6
        memory = 2e9 + 4 * parameters(knobs)
        return [
            estimate(name, work, self.device, self.records),
            Step("sample", name, made / self._speed, memory),
            self._evaluate_samples(name, about, knobs.samples),
        ]

    def _latents(self, name: str, about: Dataset) -> Step:
        knobs, images = self.grid.cells[name].knobs, about.trained
        seconds = images * network_seconds(knobs, about.image_size) / 6 / self._speed
        assert not isinstance(knobs, Diffusion)
        points = math.ceil(about.image_size / getattr(knobs, "downsampling", 4)) ** 2
        return Step("latents", name, seconds, disk=4 * images * points * code_dim(knobs))

    def _evaluate(self, name: str, about: Dataset) -> Step:
        tests, fid = about.images.test, self._tests(about, "fid_images")
        pixels, distances = about.image_size**2, self._tests(about, "lpips_images")
        networks = fid * RATES["inception"] + distances * pixels * RATES["lpips"]
        host = tests * pixels * RATES["picture"] + RATES["pair"] * 2 * fid**2
        forward = tests * network_seconds(self.grid.cells[name].knobs, about.image_size) / 3
        protocols = len(self.grid.protocols(name))
        seconds = (forward + protocols * networks) / self._speed + protocols * host
        return Step("evaluate", name, seconds, 1e9 + 3 * fid * FEATURES)

    def _evaluate_samples(self, name: str, about: Dataset, samples: int) -> Step:
        compared = self._compared(about)
        shown = samples + 6 * self.grid.budget.generation.progress_samples
        host = RATES["pair"] * 1.5 * (samples + compared) ** 2
        seconds = shown * RATES["inception"] / self._speed + host
        return Step("evaluate_samples", name, seconds, 1e9 + 3 * samples * FEATURES)

    @property
    def _speed(self) -> float:
        return float(RATES["devices"][self.device]["speed"]["fp32"])

    def _tests(self, about: Dataset, key: str) -> int:
        tests = about.images.test
        return min(tests, getattr(self.grid.budget.evaluation, key) or tests)

    def _compared(self, about: Dataset) -> int:
        images = about.trained
        return min(images, self.grid.budget.generation.reference_images or images)


def minutes(step: Step, attempt: int, most: float) -> int:
    """Return a time limit that grows with every attempt, up to `most` minutes."""
    wanted = attempt * (START_MINUTES + MARGIN * step.seconds / 60)
    return max(1, math.floor(min(math.ceil(wanted), most)))


def megabytes(step: Step, attempt: int, device: str) -> int:
    """Return the main memory to ask for. A training on a GPU has what it needs there."""
    on_gpu = device == "gpu" and step.kind.startswith("train")
    return math.ceil(attempt * (START_MEGABYTES + 1.25 * (2.5e9 if on_gpu else step.memory) / 1e6))


def needed(budget: Budget, cells: Sequence[str]) -> list[Step]:
    """Return every step that these cells take, those of their datasets among them."""
    grid, found = budget.grid, []
    first_stages = {grid.cells[name].first_stage for name in cells}
    for name in cells:
        steps = budget.of_cell(name)
        found += [step for step in steps if step.kind != "latents" or name in first_stages]
    for name in sorted({grid.cells[name].dataset for name in cells}):
        of = [grid.cells[cell] for cell in cells if grid.cells[cell].dataset == name]
        protocols = {p for cell in of if cell.stage == 1 for p in grid.protocols(cell.id)}
        prepare, reference, training = budget.of_dataset(name)
        found += [prepare, *[reference] * len(protocols)]
        found += [training] * any(cell.stage == 2 for cell in of)
    return found


def hours(budget: Budget, cells: Sequence[str], devices: int) -> tuple[float, float]:
    """Return bounds of the hours until cells are finished on so many devices.

    No schedule is shorter than the longest chain of steps that wait for each other, or than an even
    share of the work; one that leaves no device idle takes at most the sum of both (Graham 1969).
    """
    share = sum(step.seconds for step in needed(budget, cells)) / devices / 3600
    chain = 0.0
    for name in cells:
        below = budget.grid.cells[name].first_stage
        steps = [budget.step("prepare", budget.grid.cells[name].dataset)]
        if below and below in cells:
            steps += budget.of_cell(below)[:2]
        steps += budget.of_cell(name)
        chain = max(chain, sum(step.seconds for step in steps) / 3600)
    return max(share, chain), share + chain * (1 - 1 / devices)


def refused(budget: Budget) -> list[str]:
    """Return the trainings that would be refused, each with the reason."""
    memory = RATES["devices"][budget.device].get("memory", math.inf)
    found = [budget.of_cell(name)[0] for name in budget.grid.cells]
    reasons = {f"{one.kind} {one.name}": too_much(one, memory, "") for one in found}
    return [f"{name}: {why.partition(';')[0]}" for name, why in reasons.items() if why]


def report(budget: Budget, unfinished: Sequence[str]) -> str:
    """Return all that is printed of a device. unfinished: cells without a record that fits."""
    every, device = list(budget.grid.cells), RATES["devices"][budget.device]
    steps = needed(budget, every)
    rows = []
    for kind in (*dict.fromkeys(step.kind for step in steps), "all"):
        part = [step for step in steps if kind in (step.kind, "all")]
        spent = [step.seconds / 3600 for step in part]
        memory, disk = max(s.memory for s in part) / GB, sum(s.disk for s in part) / GB
        rows.append((kind, len(part), sum(spent), max(spent), memory, disk))
    bounds = [(n, *hours(budget, every, n), *hours(budget, unfinished, n)) for n in (1, 8, 64)]
    columns = ["step", "count", "hours", "longest", "memory, GB", "disk, GB"]
    limits = ["hours, at least", "at most", "unfinished, at least", "at most"]
    shown = [(rows, columns), (bounds, [device["unit"], *limits])]
    parts = [f"On {device['title']}"]
    parts += [tabulate(r, headers=h, floatfmt=",.2f") for r, h in shown]
    if against := refused(budget):
        parts.append("\n".join([f"Refused as they are, {len(against)}:", *against]))
    return "\n\n".join(parts)


def main(budget: str, datasets: list[str] | None, cache: Path) -> None:
    """Print what a budget takes on GPUs and, if no training is too large for them, on cores."""
    known = read_datasets()
    grid = load_grid(budget, known)
    found = states(make_plan(grid, known, {}), Today.look(cache))
    wanted = datasets or known
    cells = {name: cell for name, cell in grid.cells.items() if cell.dataset in wanted}
    if not cells:
        raise ConfigError(f"budget {grid.name}: no cell of {', '.join(wanted)}")
    unfinished = [name for name in cells if not found[name].finished]
    grid, records = replace(grid, cells=cells), read_records()
    budgets = [Budget(grid, known, device, records) for device in ("gpu", "cpu")]
    # A budget with trainings that a core would refuse is not meant for cores.
    texts = [report(b, unfinished) for b in budgets if b.device == "gpu" or not refused(b)]
    print(f"{grid.budget.title}\n{len(cells)} cells, {len(cells) - len(unfinished)} finished\n")
    print("\n\n".join(texts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--datasets", nargs="+", help="only the cells of these datasets")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cli.run(parser, main)
