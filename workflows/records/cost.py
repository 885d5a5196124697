"""What a budget takes: `python -m workflows.records.cost --budget NAME`. It runs nothing."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
)
from workflows.knobs import Diffusion
from workflows.metrics import needs_features
from workflows.records.state import Today, states

# What a job is given beside its estimate: for imports and a busy file system, and for the
# libraries. A limit must not end a healthy training on a slow or shared machine, hence the factor.
START_MINUTES, START_MEGABYTES, MARGIN = 10, 2000, 8.0
# Bytes of an image's Inception features, of which comparisons hold three copies.
FEATURES = 8192


@dataclass(frozen=True)
class Budget:
    """Estimates of the steps of a grid on a "cpu" core or a "gpu"."""

    grid: Grid
    datasets: Mapping[str, Dataset]
    device: str
    records: Records

    def step(self, kind: str, name: str) -> Step:
        """One step of a dataset or a cell."""
        found = self.of_cell(name) if name in self.grid.cells else self.of_dataset(name)
        return next(step for step in found if step.kind == kind)

    def of_dataset(self, name: str) -> list[Step]:
        """The steps that prepare a dataset, and the features of its images for one protocol."""
        about = self.datasets[name]
        images = about.images.train + about.images.test
        decoding = images * about.image_size**2 * RATES["decode"]
        compared = self._tests(about)
        if any(cell.dataset == name and cell.stage == 2 for cell in self.grid.cells.values()):
            compared = max(compared, self._compared(about))
        # Pictures are resized on a processor before Inception sees them.
        return [
            Step("prepare", decoding),
            Step("reference", decoding + compared * RATES["inception"] / self._speed),
        ]

    def of_cell(self, name: str) -> list[Step]:
        """The steps of a cell, each of which waits for the one before."""
        cell = self.grid.cells[name]
        knobs, about = cell.knobs, self.datasets[cell.dataset]
        side, images = about.image_size, about.trained
        if isinstance(knobs, Diffusion):
            return self._of_diffusion(knobs, about)
        pixels, tests, fid = side**2, about.images.test, self._tests(about)
        if not needs_features(self.grid.metrics(name)):
            fid = 0
        forward = network_seconds(knobs, side) / 3
        networks = fid * (RATES["inception"] + pixels * RATES["lpips"]) / self._speed
        host = tests * pixels * RATES["picture"] + 2 * fid**2 * RATES["pair"]
        measuring = len(self.grid.protocols(name)) * (networks + host)
        work = Training(knobs, side, min(images, knobs.train_images or images))
        return [
            estimate(work, self.device, self.records),
            Step("latents", images * forward / 2 / self._speed),
            Step("evaluate", tests * forward / self._speed + measuring, 1e9 + 3 * fid * FEATURES),
        ]

    def _of_diffusion(self, knobs: Diffusion, about: Dataset) -> list[Step]:
        side, images = about.image_size, min(about.trained, knobs.train_images or about.trained)
        progress = self.grid.budget.generation.progress_samples
        shown, decoding = knobs.samples + 6 * progress, 0.0
        if knobs.first_stage:
            first = self.grid.cells[knobs.first_stage].knobs
            decoding = shown * network_seconds(first, side) / 6
            side = math.ceil(side / getattr(first, "downsampling", 4))
        passes = knobs.sampling_steps * (1 if knobs.guidance == 1 else 2)
        drawing = knobs.samples * passes * network_seconds(knobs, side) / 3
        pairs = 1.5 * (knobs.samples + self._compared(about)) ** 2
        measuring = shown * RATES["inception"] / self._speed + pairs * RATES["pair"]
        weights = 4 * parameters(knobs)
        return [
            estimate(Training(knobs, side, images, progress), self.device, self.records),
            Step("sample", (drawing + decoding) / self._speed, 2e9 + weights),
            Step("evaluate_samples", measuring, 1e9 + 3 * knobs.samples * FEATURES),
        ]

    @property
    def _speed(self) -> float:
        return float(RATES["devices"][self.device]["speed"]["fp32"])

    def _tests(self, about: Dataset) -> int:
        return min(about.images.test, self.grid.budget.evaluation.fid_images or about.images.test)

    def _compared(self, about: Dataset) -> int:
        return min(about.trained, self.grid.budget.generation.reference_images or about.trained)


def minutes(step: Step, attempt: int, most: float) -> int:
    """A time limit that grows with every attempt, up to `most` minutes."""
    wanted = attempt * (START_MINUTES + MARGIN * step.seconds / 60)
    return max(1, math.floor(min(math.ceil(wanted), most)))


def megabytes(step: Step, attempt: int, device: str) -> int:
    """The main memory to ask for. A training on a GPU has what it needs there."""
    on_gpu = device == "gpu" and step.kind.startswith("train")
    return math.ceil(attempt * (START_MEGABYTES + 1.25 * (2.5e9 if on_gpu else step.memory) / 1e6))


def needed(budget: Budget, cells: Sequence[str]) -> list[Step]:
    """Every step that these cells take, those of their datasets among them."""
    grid, found = budget.grid, []
    first_stages = {grid.cells[name].first_stage for name in cells}
    protocols: dict[str, set[str]] = {}
    for name in cells:
        steps = budget.of_cell(name)
        found += [step for step in steps if step.kind != "latents" or name in first_stages]
        used = grid.protocols(name) if grid.cells[name].stage == 1 else ["samples"]
        protocols.setdefault(grid.cells[name].dataset, set()).update(used)
    for name, names in protocols.items():
        prepare, reference = budget.of_dataset(name)
        found += [prepare, *[reference] * len(names)]
    return found


def hours(budget: Budget, cells: Sequence[str], devices: int) -> float:
    """The fewest hours until cells are finished on so many devices.

    No schedule is shorter than an even share of the work, or than the longest chain of steps that
    wait for each other.
    """
    longest = [sum(step.seconds for step in needed(budget, cells)) / devices]
    for name in cells:
        below = budget.grid.cells[name].first_stage
        chain = [budget.step("prepare", budget.grid.cells[name].dataset), *budget.of_cell(name)]
        if below and below in cells:
            chain += budget.of_cell(below)[:2]
        longest.append(sum(step.seconds for step in chain))
    return max(longest) / 3600


def report(budget: Budget, unfinished: Sequence[str]) -> str:
    """All that is printed of a device. unfinished: cells without a record that fits."""
    every, device = list(budget.grid.cells), RATES["devices"][budget.device]
    steps = needed(budget, every)
    rows = []
    for kind in (*dict.fromkeys(step.kind for step in steps), "all"):
        part = [step for step in steps if kind in (step.kind, "all")]
        spent = [step.seconds / 3600 for step in part]
        rows.append((kind, len(part), sum(spent), max(spent), max(s.memory for s in part) / GB))
    bounds = [(n, hours(budget, every, n), hours(budget, unfinished, n)) for n in (1, 8, 64)]
    columns = ["step", "count", "hours", "longest", "memory, GB"]
    limits = [device["unit"], "hours, at least", "unfinished"]
    tables = [tabulate(r, h, floatfmt=",.2f") for r, h in ((rows, columns), (bounds, limits))]
    return "\n\n".join([f"On {device['title']}", *tables])


def main(budget: str, cache: Path) -> None:
    """Print what a budget takes on GPUs and on cores."""
    datasets = read_datasets()
    grid = load_grid(budget, datasets)
    found = states(make_plan(grid, datasets, {}), Today.look(cache))
    unfinished = [name for name in grid.cells if not found[name].finished]
    finished = len(grid.cells) - len(unfinished)
    print(f"{grid.budget.title}\n{len(grid.cells)} cells, {finished} finished")
    records = read_records()
    for device in ("gpu", "cpu"):
        print("\n" + report(Budget(grid, datasets, device, records), unfinished))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cli.run(parser, main)
