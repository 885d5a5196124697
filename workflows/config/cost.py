"""What steps take: seconds and memory, from records of finished trainings or shipped rates.

`make cost` prints them for a budget, rules ask a cluster for them, and a training prints its own
before it starts. docs/cost.md says how far to trust them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import yaml
from pydantic import PositiveFloat, TypeAdapter, ValidationError

from workflows.config.datasets import Dataset, read_dataset
from workflows.config.grid import Grid
from workflows.config.records import TrainRecord, find
from workflows.errors import BenchmarkError, ConfigError
from workflows.knobs import Generative
from workflows.metrics import needs_features

RATES = yaml.safe_load(Path(__file__).with_name("rates.yaml").read_text(encoding="utf-8"))
GB, DAY = 1e9, 86400
# Days that a training may take unless the variable sets another number.
DAYS, VARIABLE = 7.0, "CODEBOOK_DAYS"
# Estimates of memory are right within a third. Less than that above what is free is let through,
# and the first step tells.
TOLERANCE = 4 / 3
# Seconds of a training from which others can be estimated.
SHORTEST = 60
# What a job is given beside its estimate: for imports and a busy file system, and for the
# libraries. A limit must not end a healthy training on a slow or shared machine, hence the factor.
START_MINUTES, START_MEGABYTES, MARGIN = 10, 2000, 8.0
# Bytes of an image's Inception features, of which comparisons hold three copies.
FEATURES = 3 * 8192
# Knob of a generative model -> its network.
GENERATIVE = {"unet_channels": "unet", "transformer_width": "transformer", "gan_channels": "gan"}
# Network -> the knobs that make it smaller.
LOWER = {
    "unet": "unet_channels or unet_blocks",
    "transformer": "transformer_width or transformer_layers",
    "gan": "gan_channels",
}
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
    parts: processes that share each batch.
    """

    knobs: Any
    side: int
    images: int
    parts: int = 1

    @property
    def network(self) -> str:
        """The network as RATES calls it. Older records do not name the small one."""
        for knob, network in GENERATIVE.items():
            if hasattr(self.knobs, knob):
                return network
        return str(getattr(self.knobs, "network", "convnet"))

    @property
    def parameters(self) -> float:
        """About how many numbers are trained."""
        blocks, widths = self._levels()
        each = RATES["networks"][self.network]["parameters"]
        return float(each * blocks * sum(width**2 for width in widths))

    def seconds(self, device: str) -> float:
        """The seconds on a "cpu" core or a "gpu" by the shipped rates."""
        rates, batch = RATES["devices"][device], self.knobs.batch_size
        speed = rates["speed"].get(self.knobs.precision, rates["speed"]["fp32"])
        computing = self.images / self.parts * self.of_image("seconds", 2) / speed
        epoch = computing + math.ceil(self.images / batch) * rates["step"]
        return float(self.knobs.epochs * epoch)

    def memory(self) -> float:
        """The bytes of one process: weights, gradients, moments, average, and a batch."""
        copies = 5 if self.network in GENERATIVE.values() else 4
        batch = min(math.ceil(self.knobs.batch_size / self.parts), self.images)
        return 4 * copies * self.parameters + batch * self.of_image("bytes", 1)

    def of_image(self, rate: str, power: int) -> float:
        """The "seconds" of a core for an image, or its "bytes", which grow with channels to a
        power. A level has a quarter of the pixels of the level before.
        """
        blocks, widths = self._levels()
        size = blocks * sum(width**power / 4**i for i, width in enumerate(widths))
        loss = RATES["losses"].get(getattr(self.knobs, "perceptual_network", None), {rate: 0})
        each = RATES["networks"][self.network][rate] * size + loss[rate]
        return float(self.side**2 * each)

    def _levels(self) -> tuple[int, list[float]]:
        """Blocks and channels of the levels, outermost first; 1 and [1] of the small network."""
        knobs = self.knobs
        if self.network == "convnet":
            return 1, [1]
        if self.network == "frozen":
            # Each latent is compared with each codevector.
            return 1, [math.sqrt(knobs.codebook_size)]
        if self.network == "unet":
            widths = [knobs.unet_channels * factor for factor in knobs.unet_multipliers]
            return knobs.unet_blocks + 1, widths
        if self.network == "transformer":
            return knobs.transformer_layers, [knobs.transformer_width]
        if self.network == "gan":
            # From the image inwards; the lowest resolution is of 4 x 4.
            levels = max(1, round(math.log2(self.side / 4)))
            return 1, [max(8.0, knobs.gan_channels / 2 ** (levels - i)) for i in range(levels + 1)]
        widths = [knobs.network_channels * factor for factor in MULTIPLES[knobs.downsampling]]
        return knobs.network_blocks + 1, widths


# Device, network and method -> of each finished training its seconds over those of shipped rates.
Records = dict[tuple[str, str, str], list[float]]


def read_records(results: Path = Path("results")) -> Records:
    """Read the finished trainings of every budget below `results`.

    Outdated records count too: a version changes what a training computes, hardly how long. Left
    out are trainings that several processes or cores shared, those that were so short that starting
    took most of their time, and records that cannot be read.
    """
    found: Records = {}
    side_of = cache(lambda dataset: read_dataset(dataset).image_size)
    for file in sorted(results.glob("*/cells/*/*/*/*/train.json")):
        train = find(file, TrainRecord)
        if train is None or train.status != "finished" or train.threads * train.processes != 1:
            continue
        if train.seconds < SHORTEST:
            continue
        knobs = SimpleNamespace(**{**train.knobs, "epochs": train.epochs})
        device = "cpu" if train.device.startswith("cpu") else "gpu"
        try:
            side = train.shape[-1] if train.shape else side_of(knobs.dataset)
            work = Training(knobs, side, train.images)
            ratio = train.seconds / work.seconds(device)
            found.setdefault((device, work.network, knobs.method), []).append(ratio)
        except (BenchmarkError, AttributeError, LookupError, TypeError, ArithmeticError):
            continue
    return found


def estimate(work: Training, device: str, records: Records) -> Step:
    """Estimate a training on a "cpu" core, or on a GPU by any other name, such as torch's "cuda".

    The shipped rates are corrected by the median of the records of its device, network and method,
    or else of its device and network.
    """
    place = ("cpu" if device == "cpu" else "gpu", work.network)
    of_network = [ratio for key, found in records.items() if key[:2] == place for ratio in found]
    close = records.get((*place, work.knobs.method)) or of_network
    return Step(
        kind="train_generator" if work.network in GENERATIVE.values() else "train",
        seconds=work.seconds(place[0]) * (median(close) if close else 1),
        memory=work.memory(),
        source=f"{len(close)} finished trainings" if close else Step.source,
    )


def refuse_too_much(step: Step, free: float, lower: str) -> None:
    """Raise ConfigError for a training that cannot run on a device with so many bytes free, or that
    takes too many days. lower: the knobs that make the training smaller.
    """
    given = os.environ.get(VARIABLE, f"{DAYS:g}")
    try:
        allowed = TypeAdapter(PositiveFloat).validate_python(given)
    except ValidationError:
        expected = f"{VARIABLE}: expected a number of days above 0"
        raise ConfigError(f"{expected}, got '{given}'") from None
    if step.memory > TOLERANCE * free:
        sizes = f"{step.memory / GB:,.1f} GB, the device has {free / GB:,.1f} free"
        raise ConfigError(f"needs about {sizes}; lower {lower}")
    days = step.seconds / DAY
    if days > allowed:
        raise ConfigError(
            f"would take {days:,.1f} days, more than {VARIABLE}={given}; lower epochs or {lower}, "
            f"or set {VARIABLE}"
        )


def minutes(step: Step, attempt: int, most: float) -> int:
    """The time limit of a job, which grows with every attempt, up to `most` minutes."""
    return math.ceil(min(attempt * (START_MINUTES + MARGIN * step.seconds / 60), most))


def megabytes(step: Step, attempt: int, device: str) -> int:
    """The main memory to ask for. A training on a GPU has what it needs there."""
    on_gpu = device == "gpu" and step.kind.startswith("train")
    return math.ceil(attempt * (START_MEGABYTES + 1.25 * (2.5e9 if on_gpu else step.memory) / 1e6))


@dataclass(frozen=True)
class Estimates:
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
        every = about.images.train + about.images.test
        compared = max(self._compared(about, stage) for stage in (1, 2))
        return [self._other("prepare", every, about), self._other("reference", compared, about)]

    def of_cell(self, name: str) -> list[Step]:
        """The steps of a cell, each of which waits for the one before."""
        cell = self.grid.cells[name]
        knobs, about = cell.knobs, self.datasets[cell.dataset]
        side, compared = about.image_size, self._compared(about, cell.stage)
        if isinstance(knobs, Generative) and knobs.first_stage:
            first = self.grid.cells[knobs.first_stage].knobs
            side = math.ceil(side / getattr(first, "downsampling", 4))
        work = Training(knobs, side, min(about.trained, knobs.train_images or about.trained))
        training = estimate(work, self.device, self.records)
        forward = work.of_image("seconds", 2) / 3 / self._speed
        if isinstance(knobs, Generative):
            passes = knobs.samples * knobs.passes
            sampling = Step("sample", passes * forward, 2e9 + 4 * work.parameters)
            shown = knobs.samples + 6 * self.grid.budget.generation.progress_samples
            compared += knobs.samples
            return [training, sampling, self._other("evaluate_samples", shown, about, compared)]
        latents = Step("latents", about.trained * forward / 2)
        if not needs_features(self.grid.metrics(name)):
            # No metric network is run, so reading the images takes longest.
            evaluation = self._other("prepare", about.images.test, about, forward=forward)
            return [training, latents, replace(evaluation, kind="evaluate")]
        measured = len(self.grid.protocols(name)) * compared
        return [training, latents, self._other("evaluate", measured, about, compared, forward)]

    def _other(
        self, kind: str, images: int, about: Dataset, compared: int = 0, forward: float = 0.0
    ) -> Step:
        """A step that trains nothing. compared: images whose features are held against as many.
        forward: seconds of a model for an image.
        """
        rates, pixels = RATES["steps"][kind], about.image_size**2
        each = (rates["image"] + rates["pixel"] * pixels) / self._speed + rates["host"] * pixels
        seconds = images * (each + forward) + rates["pair"] * compared**2
        return Step(kind, seconds, 1e9 + FEATURES * min(images, compared))

    @property
    def _speed(self) -> float:
        return float(RATES["devices"][self.device]["speed"]["fp32"])

    def _compared(self, about: Dataset, stage: int) -> int:
        """With how many images of the dataset reconstructions or samples are compared."""
        if stage == 1:
            return min(about.images.test, self.grid.budget.evaluation.fid_images or 10**9)
        return min(about.trained, self.grid.budget.generation.reference_images or 10**9)
