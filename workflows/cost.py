"""What trainings take: seconds and memory, from records of finished ones or shipped rates.

`python -m workflows.records.cost` prints them for a budget, rules ask a cluster for them, and a
training prints its own before it starts. docs/cost.md says how far to trust them.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import yaml

from workflows.config.datasets import read_dataset
from workflows.errors import BenchmarkError, ConfigError

RATES = yaml.safe_load((Path(__file__).parent / "rates.yaml").read_text(encoding="utf-8"))
GB, DAY = 1e9, 86400
# Days that a training may take unless the variable sets another number.
DAYS, VARIABLE = 7.0, "CODEBOOK_DAYS"
# Estimates of memory are right within a third. Less than that above what is free is let through,
# and the first step tells.
TOLERANCE = 4 / 3
# Channels of VQGAN's levels, as multiples of the first, by downsampling (models/vqgan.py).
MULTIPLES = {4: (1, 2, 4), 8: (1, 2, 2, 4), 16: (1, 1, 2, 2, 4)}


@dataclass(frozen=True)
class Step:
    """kind: such as "train". memory: bytes beside the interpreter, on the device for a training.
    source: what the seconds rest on.
    """

    kind: str
    seconds: float
    memory: float = 1e9
    source: str = "shipped rates"

    def __str__(self) -> str:
        """One line for people."""
        days = self.seconds / DAY
        length = f"{days:,.1f} days" if days >= 1 else f"{self.seconds / 60:.0f} minutes"
        return f"about {length} by {self.source}, {self.memory / GB:.1f} GB"


@dataclass(frozen=True)
class Training:
    """side: pixels of an image, or places of a diffusion model's grid. images: of an epoch.
    progress: samples that a diffusion model makes at each of five moments, in 20 steps each.
    parts: processes that share each batch.
    """

    knobs: Any
    side: int
    images: int
    progress: int = 0
    parts: int = 1

    def seconds(self, device: str) -> float:
        """The seconds on a "cpu" core or a "gpu" by the shipped rates."""
        rates, knobs = RATES["devices"][device], self.knobs
        steps = knobs.epochs * math.ceil(self.images / knobs.batch_size)
        seen = knobs.epochs * self.images / self.parts + 5 * 20 * self.progress / 3
        each = network_seconds(knobs, self.side)
        if network_of(knobs) == "vqgan":
            each += RATES["losses"][knobs.perceptual_network] * self.side**2
        speed = rates["speed"].get(knobs.precision, rates["speed"]["fp32"])
        return float(seen * each / speed + steps * rates["step"])

    def memory(self) -> float:
        """The bytes of one process: weights, gradients, moments, average, and a batch."""
        network = network_of(self.knobs)
        copies = 5 if network == "unet" else 4
        each = RATES["networks"][network]["bytes"] * _size(self.knobs, self.side, 1)
        if network == "vqgan":
            each += RATES["losses"]["bytes"] * self.side**2
        batch = min(math.ceil(self.knobs.batch_size / self.parts), self.images)
        return 4 * copies * parameters(self.knobs) + batch * each


def network_of(knobs: Any) -> str:
    """The network, or "unet". Older records do not name the small network."""
    return "unet" if hasattr(knobs, "unet_channels") else getattr(knobs, "network", "convnet")


def network_seconds(knobs: Any, side: int) -> float:
    """What one core takes to train on an image; a pass forward takes a third of it."""
    return float(RATES["networks"][network_of(knobs)]["seconds"] * _size(knobs, side, 2))


def parameters(knobs: Any) -> float:
    """About how many numbers are trained."""
    blocks, widths = _widths(knobs)
    each = RATES["networks"][network_of(knobs)]["parameters"]
    return float(each * blocks * sum(width**2 for width in widths))


def _widths(knobs: Any) -> tuple[int, list[float]]:
    """Blocks and channels of the levels, outermost first; 1 and [1] of the small network."""
    network = network_of(knobs)
    if network == "convnet":
        return 1, [1]
    if network == "frozen":
        # Each latent is compared with each codevector.
        return 1, [math.sqrt(knobs.codebook_size)]
    if network == "unet":
        width, multiples, blocks = knobs.unet_channels, knobs.unet_multipliers, knobs.unet_blocks
    else:
        width, multiples = knobs.network_channels, MULTIPLES[knobs.downsampling]
        blocks = knobs.network_blocks
    return blocks + 1, [width * multiple for multiple in multiples]


def _size(knobs: Any, side: int, power: int) -> float:
    """Pixels times blocks times channels to a power; a level has a quarter of the pixels of the
    level before.
    """
    blocks, widths = _widths(knobs)
    return side**2 * blocks * sum(width**power / 4**i for i, width in enumerate(widths))


# Device, network and method -> of each finished training its seconds over those of shipped rates.
Records = dict[tuple[str, str, str], list[float]]


def read_records(results: Path = Path("results")) -> Records:
    """Read the finished trainings of every budget below `results`.

    Outdated records count too: a version changes what a training computes, hardly how long. Left
    out are trainings that several processes or cores shared, and records that cannot be read.
    """
    found: Records = {}
    for file in sorted(results.glob("*/cells/*/*/*/*/train.json")):
        try:
            train = json.loads(file.read_text(encoding="utf-8"))
            if train["status"] != "finished" or train["threads"] * train.get("processes", 1) != 1:
                continue
            knobs = SimpleNamespace(**{**train["knobs"], "epochs": train["epochs"]})
            side = train["shape"][-1] if "shape" in train else _side(knobs.dataset)
            work = Training(knobs, side, train["images"], train.get("progress_samples", 0))
            device = "cpu" if train["device"].startswith("cpu") else "gpu"
            ratio = train["seconds"] / work.seconds(device)
            found.setdefault((device, network_of(knobs), knobs.method), []).append(ratio)
        except (BenchmarkError, OSError, ValueError, KeyError, TypeError, ArithmeticError):
            continue
    return found


@cache
def _side(dataset: str) -> int:
    return read_dataset(dataset).image_size


def estimate(work: Training, device: str, records: Records) -> Step:
    """Estimate a training on a "cpu" core, or on a GPU by any other name, such as torch's "cuda".

    The shipped rates are corrected by the median of the records of its device, network and method,
    or else of its device and network.
    """
    place = ("cpu" if device == "cpu" else "gpu", network_of(work.knobs))
    of_network = [ratio for key, found in records.items() if key[:2] == place for ratio in found]
    close = records.get((*place, work.knobs.method)) or of_network
    return Step(
        kind="train_diffusion" if place[1] == "unet" else "train",
        seconds=work.seconds(place[0]) * (median(close) if close else 1),
        memory=work.memory(),
        source=f"{len(close)} finished trainings" if close else Step.source,
    )


def too_much(step: Step, free: float, lower: str) -> str:
    """Say why a training cannot run on a device with so many bytes free; empty if it can.

    lower: the knobs that make the training smaller. Raises ConfigError for days that are none.
    """
    if step.memory > TOLERANCE * free:
        sizes = f"{step.memory / GB:,.1f} GB, the device has {free / GB:,.1f} free"
        return f"needs about {sizes}; lower {lower}"
    days, allowed = step.seconds / DAY, _allowed_days()
    if days > allowed:
        advice = f"lower epochs or {lower}, or set {VARIABLE}"
        return f"would take {days:,.1f} days, more than {VARIABLE}={allowed:g}; {advice}"
    return ""


def _allowed_days() -> float:
    given = os.environ.get(VARIABLE, str(DAYS))
    try:
        days = float(given)
    except ValueError:
        days = math.nan
    if not days > 0:
        raise ConfigError(f"{VARIABLE}: expected a number of days above 0, got '{given}'")
    return days
