"""What steps take: seconds, memory and disk, from records of finished trainings or shipped rates.

`python -m workflows.cost --budget NAME` prints them for a budget. Rules ask a cluster for them,
and a training prints its own before it starts. docs/cost.md says how far to trust them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from workflows.data import DataError, Dataset, describe, names
from workflows.reading import load_yaml
from workflows.schema import ConfigError

if TYPE_CHECKING:
    from workflows.grid import Grid

RATES = load_yaml(Path(__file__).parent / "rates.yaml", None)
GB, DAY = 1e9, 86400
# Days that a training may take unless the variable sets another number.
DAYS, VARIABLE = 7.0, "CODEBOOK_DAYS"
# Estimates of memory are right within a third. Less than that above what is free is let through,
# and the first step tells.
TOLERANCE = 4 / 3
# Steps of a training before the clock starts, while kernels are chosen; and steps that are timed.
WARM_UP, TIMED = 3, 10
# What a job is given beside its estimate: for imports and a busy file system, and for the
# libraries. A limit must not end a healthy training on a slow or shared machine, hence the factor.
START_MINUTES, START_MEGABYTES, MARGIN = 10, 2000, 8.0
# Channels of VQGAN's levels, as multiples of the first, by downsampling (models/vqgan.py).
MULTIPLES = {4: (1, 2, 4), 8: (1, 2, 2, 4), 16: (1, 1, 2, 2, 4)}
# Bytes of an image's Inception features, and of a cell's record.
FEATURES, RECORD = 8192, 60_000


@dataclass(frozen=True)
class Step:
    """kind: such as "train". name: of a cell or a dataset. memory: bytes beside the interpreter, on
    the device for a training. disk: bytes that stay. source: what the seconds rest on.
    """

    kind: str
    name: str
    seconds: float
    memory: float = 1e9
    disk: float = 0.0
    source: str = "shipped rates"

    def __str__(self) -> str:
        """Return one line for people."""
        return f"about {length(self.seconds)} by {self.source}, {self.memory / GB:.1f} GB"


@dataclass(frozen=True)
class Training:
    """side: pixels of an image, or places of a diffusion model's grid. images: of an epoch.
    progress: samples that a diffusion model makes at each of five moments, in 20 steps each.
    parameters: trained numbers, if known. parts: processes that share each batch.
    """

    knobs: Mapping[str, Any]
    side: int
    images: int
    progress: int = 0
    parameters: int | None = None
    parts: int = 1

    def seconds(self, device: str) -> float:
        """Return the seconds on a "cpu" core or a "gpu" by the shipped rates."""
        rates, knobs = RATES["devices"][device], self.knobs
        steps = knobs["epochs"] * math.ceil(self.images / knobs["batch_size"])
        seen = knobs["epochs"] * self.images / self.parts + 5 * 20 * self.progress / 3
        each = network_seconds(knobs, self.side)
        if network_of(knobs) == "vqgan":
            each += RATES["losses"][knobs["perceptual_network"]] * self.side**2
        speed = rates["speed"].get(knobs["precision"], rates["speed"]["fp32"])
        return seen * each / speed + steps * rates["step"]

    def memory(self) -> float:
        """Return the bytes of one process: weights, gradients, moments, average, and a batch."""
        network = network_of(self.knobs)
        copies = 5 if network == "unet" else 4
        each = RATES["networks"][network]["bytes"] * _size(self.knobs, self.side, 1)
        if network == "vqgan":
            each += RATES["losses"]["bytes"] * self.side**2
        batch = min(math.ceil(self.knobs["batch_size"] / self.parts), self.images)
        return 4 * copies * (self.parameters or parameters(self.knobs)) + batch * each


def network_of(knobs: Mapping[str, Any]) -> str:
    """Return "convnet", "vqgan" or "unet". Older records do not name the small network."""
    return "unet" if "unet_channels" in knobs else str(knobs.get("network", "convnet"))


def network_seconds(knobs: Mapping[str, Any], side: int) -> float:
    """Return what one core takes to train on an image; a pass forward takes a third of it."""
    return float(RATES["networks"][network_of(knobs)]["seconds"] * _size(knobs, side, 2))


def parameters(knobs: Mapping[str, Any]) -> float:
    """Return about how many numbers are trained."""
    blocks, widths = _widths(knobs)
    each = RATES["networks"][network_of(knobs)]["parameters"]
    return float(each * blocks * sum(width**2 for width in widths))


def _widths(knobs: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return blocks and channels of the levels, outermost first; 1 and [1] of the small network."""
    if network_of(knobs) == "convnet":
        return 1, [1]
    if network_of(knobs) == "unet":
        multiples, width = knobs["unet_multipliers"], knobs["unet_channels"]
        return knobs["unet_blocks"] + 1, [width * multiple for multiple in multiples]
    multiples, width = MULTIPLES[knobs["downsampling"]], knobs["network_channels"]
    return knobs["network_blocks"] + 1, [width * multiple for multiple in multiples]


def _size(knobs: Mapping[str, Any], side: int, power: int) -> float:
    """Return pixels times blocks times channels to a power; each level has a quarter of the pixels
    of the level before.
    """
    blocks, widths = _widths(knobs)
    return side**2 * blocks * sum(width**power / 4**i for i, width in enumerate(widths))


def length(seconds: float) -> str:
    """Return a number of seconds in days, or in minutes if that is less than a day."""
    return f"{seconds / DAY:,.1f} days" if seconds >= DAY else f"{seconds / 60:.0f} minutes"


# Device, network and method -> of each finished training its seconds over those of shipped rates.
Records = Mapping[tuple[str, str, str], Sequence[float]]


def read_records(results: Path = Path("results")) -> Records:
    """Read the finished trainings of every budget below `results`.

    Outdated records count too: a version changes what a training computes, hardly how long. Left
    out are trainings that several processes or cores shared, and records that cannot be read.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for file in sorted(results.glob("*/cells/*/*/*/*/train.json")):
        try:
            train = json.loads(file.read_text(encoding="utf-8"))
            if train["status"] != "finished" or train["threads"] * train.get("processes", 1) != 1:
                continue
            knobs = {**train["knobs"], "epochs": train["epochs"]}
            side = train["shape"][-1] if "shape" in train else _side(knobs["dataset"])
            work = Training(knobs, side, train["images"], train.get("progress_samples", 0))
            device = "cpu" if train["device"].startswith("cpu") else "gpu"
            ratio = train["seconds"] / work.seconds(device)
            found.setdefault((device, network_of(knobs), knobs["method"]), []).append(ratio)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
            continue
    return found


@cache
def _side(dataset: str) -> int:
    return describe(dataset).image_size


def estimate(name: str, work: Training, device: str, records: Records) -> Step:
    """Estimate a training on a "cpu" core or a "gpu".

    The shipped rates are corrected by the median of the records of its device, network and method,
    or else of its device and network.
    """
    place = (device, network_of(work.knobs))
    close = records.get((*place, work.knobs["method"]), ())
    close = close or [
        ratio for key, found in records.items() if key[:2] == place for ratio in found
    ]
    kind = "train_diffusion" if network_of(work.knobs) == "unet" else "train"
    size = RECORD + 4 * (work.parameters or parameters(work.knobs))
    source = f"{len(close)} finished trainings" if close else Step.source
    seconds = work.seconds(device) * (median(close) if close else 1)
    return Step(kind, name, seconds, work.memory(), size, source)


def allowed_days() -> float:
    """Return the days that a training may take. Raises ConfigError unless they are above 0."""
    given = os.environ.get(VARIABLE, str(DAYS))
    try:
        days = float(given)
    except ValueError:
        days = math.nan
    if not days > 0:
        raise ConfigError(f"{VARIABLE}: expected a number of days above 0, got '{given}'")
    return days


def too_much(step: Step, free: float, lower: str) -> str:
    """Say why a training cannot run on a device with so many bytes free; empty if it can.

    lower: the knobs that make the training smaller.
    """
    if step.memory > TOLERANCE * free:
        sizes = f"{step.memory / GB:,.1f} GB, the device has {free / GB:,.1f} free"
        return f"needs about {sizes}; lower {lower}"
    days, allowed = step.seconds / DAY, allowed_days()
    if days > allowed:
        advice = f"lower epochs or {lower}, or set {VARIABLE}"
        return f"would take {days:,.1f} days, more than {VARIABLE}={allowed:g}; {advice}"
    return ""


def before_training(
    found: Step, optimiser: Any, steps: int, lower: str, say: Callable[[str], None]
) -> None:
    """Tell what a training takes, and refuse one that does not fit or would take too long.

    The first steps are timed. If all `steps` would take too long at their pace, the optimiser's
    step raises. lower: the knobs that make the training smaller. Raises ConfigError.
    """
    from workflows.devices import free_memory

    say(str(found))
    device = optimiser.param_groups[0]["params"][0].device
    if against := too_much(found, free_memory(device), lower):
        raise ConfigError(against)
    done, start = 0, 0.0

    def after_step(*_: Any) -> None:
        nonlocal done, start
        done += 1
        if done not in (WARM_UP, WARM_UP + TIMED):
            return
        if device.type == "cuda":
            import torch

            torch.cuda.synchronize(device)
        if done == WARM_UP:
            start = time.perf_counter()
            return
        seconds = steps * (time.perf_counter() - start) / TIMED
        say(f"{length(seconds)} at the pace of the first steps")
        if against := too_much(replace(found, seconds=seconds), math.inf, lower):
            raise ConfigError(f"at the pace of its first steps {against}")

    optimiser.register_step_post_hook(after_step)


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
        pixels = (about.images["train"] + about.images["test"]) * about.image_size**2
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
        about = self.datasets[cell.knobs["dataset"]]
        side, images = about.image_size, about.images["train"] - about.validation
        images = min(images, cell.knobs["train_images"] or images)
        if cell.stage == 1:
            work = Training(cell.knobs, side, images)
            train = estimate(name, work, self.device, self.records)
            return [train, self._latents(name, about), self._evaluate(name, about)]
        first = self.grid.cells[cell.first_stage].knobs if cell.first_stage else None
        grid_side = side if first is None else math.ceil(side / first.get("downsampling", 4))
        progress = self.grid.budget["generation"]["progress_samples"]
        work = Training(cell.knobs, grid_side, images, progress)
        passes = cell.knobs["sampling_steps"] * (1 if cell.knobs["guidance"] == 1 else 2)
        made = cell.knobs["samples"] * passes * network_seconds(cell.knobs, grid_side) / 3
        if first is not None:
            made += (cell.knobs["samples"] + 6 * progress) * network_seconds(first, side) / 6
        memory = 2e9 + 4 * parameters(cell.knobs)
        return [
            estimate(name, work, self.device, self.records),
            Step("sample", name, made / self._speed, memory),
            self._evaluate_samples(name, about),
        ]

    def _latents(self, name: str, about: Dataset) -> Step:
        knobs, images = self.grid.cells[name].knobs, about.images["train"] - about.validation
        seconds = images * network_seconds(knobs, about.image_size) / 6 / self._speed
        points = math.ceil(about.image_size / knobs.get("downsampling", 4)) ** 2
        return Step("latents", name, seconds, disk=4 * images * points * knobs["code_dim"])

    def _evaluate(self, name: str, about: Dataset) -> Step:
        tests, fid = about.images["test"], self._tests(about, "fid_images")
        pixels, distances = about.image_size**2, self._tests(about, "lpips_images")
        networks = fid * RATES["inception"] + distances * pixels * RATES["lpips"]
        host = tests * pixels * RATES["picture"] + RATES["pair"] * 2 * fid**2
        forward = tests * network_seconds(self.grid.cells[name].knobs, about.image_size) / 3
        protocols = len(self.grid.protocols(name))
        seconds = (forward + protocols * networks) / self._speed + protocols * host
        return Step("evaluate", name, seconds, 1e9 + 3 * fid * FEATURES)

    def _evaluate_samples(self, name: str, about: Dataset) -> Step:
        samples, compared = self.grid.cells[name].knobs["samples"], self._compared(about)
        shown = samples + 6 * self.grid.budget["generation"]["progress_samples"]
        host = RATES["pair"] * 1.5 * (samples + compared) ** 2
        seconds = shown * RATES["inception"] / self._speed + host
        return Step("evaluate_samples", name, seconds, 1e9 + 3 * samples * FEATURES)

    @property
    def _speed(self) -> float:
        return float(RATES["devices"][self.device]["speed"]["fp32"])

    def _tests(self, about: Dataset, key: str) -> int:
        tests = about.images["test"]
        return min(tests, self.grid.budget["evaluation"][key] or tests)

    def _compared(self, about: Dataset) -> int:
        images = about.images["train"] - about.validation
        return min(images, self.grid.budget["generation"]["reference_images"] or images)


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
    for name in sorted({grid.cells[name].knobs["dataset"] for name in cells}):
        of = [grid.cells[cell] for cell in cells if grid.cells[cell].knobs["dataset"] == name]
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
        steps = [budget.step("prepare", budget.grid.cells[name].knobs["dataset"])]
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
    from tabulate import tabulate

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


def main() -> int:
    """Parse the command line. Return 1 after one line on standard error for bad input."""
    # Trainings import this module, and should not wait for what they do not use.
    from workflows.grid import load_grid
    from workflows.planning import planned
    from workflows.records import Today, states

    parser = argparse.ArgumentParser(description="What a budget takes; runs nothing.")
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--datasets", nargs="+", help="only the cells of these datasets")
    arguments = parser.parse_args()
    try:
        datasets = {name: describe(name) for name in names()}
        grid = load_grid(arguments.budget, datasets)
        plan = planned(arguments.budget, grid, datasets, {})
        wanted = arguments.datasets or datasets
        cells = {n: c for n, c in grid.cells.items() if c.knobs["dataset"] in wanted}
        if not cells:
            raise ConfigError(f"budget {grid.name}: no cell of {', '.join(wanted)}")
        found = states(plan["cells"], Today.look(Path(".cache")))
        unfinished = [name for name in cells if not found[name].finished]
        grid, records = replace(grid, cells=cells), read_records()
        budgets = [Budget(grid, datasets, device, records) for device in ("gpu", "cpu")]
        # A budget with trainings that a core would refuse is not meant for cores.
        texts = [report(b, unfinished) for b in budgets if b.device == "gpu" or not refused(b)]
    except (ConfigError, DataError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 1
    print(f"{grid.budget['title']}\n{len(cells)} cells, {len(cells) - len(unfinished)} finished\n")
    print("\n\n".join(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
