"""Estimate the seconds and the memory of steps, before they run.

`make cost` prints the estimates of a budget, rules ask a cluster for this much time and memory, and
each training prints its own estimate before it starts. docs/cost.md says how well they hold.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import yaml

from workflows.config.datasets import Dataset, read_dataset
from workflows.config.plan import Plan, PlannedCell
from workflows.config.records import TrainRecord, find
from workflows.errors import BenchmarkError, ConfigError
from workflows.knobs import Generative
from workflows.metrics import needs_features

RATES = yaml.safe_load(Path(__file__).with_name("rates.yaml").read_text(encoding="utf-8"))
GB, DAY = 1e9, 86400
# The environment variable that sets how many days a training may take, and its default.
VARIABLE, DAYS = "CODEBOOK_DAYS", "7"
# Estimates of memory are right within a third, so a training is refused only above this ratio of
# estimated to free memory. A training in between may fail at its first step.
TOLERANCE = 4 / 3
# Trainings of fewer seconds say little about others, because starting takes most of their time.
SHORTEST = 60
# What a job asks for beside its estimate, for imports, libraries and a busy file system. The factor
# keeps a time limit from ending a healthy training on a slow or shared machine.
START_MINUTES, START_MEGABYTES, MARGIN = 10, 2000, 8.0
# Bytes of the Inception features of an image. Comparisons hold three copies.
FEATURES = 3 * 8192
# Knob that only one kind of generative model has -> the network of that kind.
GENERATIVE = {"unet_channels": "unet", "transformer_width": "transformer", "gan_channels": "gan"}
# Network -> the knobs that make it smaller.
LOWER = {
    "unet": "unet_channels or unet_blocks",
    "transformer": "transformer_width or transformer_layers",
    "gan": "gan_channels",
}
# Downsampling -> channels of VQGAN's levels as multiples of the first (models/vqgan.py).
MULTIPLES = {4: (1, 2, 4), 8: (1, 2, 2, 4), 16: (1, 1, 2, 2, 4)}


@dataclass(frozen=True)
class Step:
    """The estimate of one step.

    kind: such as "train". memory: bytes that the step needs beside Python itself; for a training,
    bytes on its device. source: where the seconds come from.
    """

    kind: str
    seconds: float
    memory: float = 1e9
    source: str = "shipped rates"

    def __str__(self) -> str:
        """Return the estimate as one line for people."""
        days = self.seconds / DAY
        length = f"{days:,.1f} days" if days >= 1 else f"{self.seconds / 60:.0f} minutes"
        return f"about {length} by {self.source}, {self.memory / GB:.1f} GB"


@dataclass(frozen=True)
class Training:
    """The size of a training.

    side: pixels a side of an image, or places a side of the grid of a model of latents or codes.
    images: of an epoch. parts: processes that share each batch.
    """

    knobs: Any
    side: int
    images: int
    parts: int = 1

    @property
    def network(self) -> str:
        """The name of the network in RATES. Old records lack the name of the small network."""
        for knob, network in GENERATIVE.items():
            if hasattr(self.knobs, knob):
                return network
        return str(getattr(self.knobs, "network", "convnet"))

    @property
    def parameters(self) -> float:
        """The approximate number of trained parameters."""
        blocks, widths = self._levels()
        rate = RATES["networks"][self.network]["parameters"]
        return float(rate * blocks * sum(width**2 for width in widths))

    def seconds(self, device: str) -> float:
        """Return the seconds on a "cpu" core or a "gpu" by the shipped rates."""
        rates, batch = RATES["devices"][device], self.knobs.batch_size
        speed = rates["speed"].get(self.knobs.precision, rates["speed"]["fp32"])
        computing = self.images / self.parts * self.of_image("seconds", 2) / speed
        starting = math.ceil(self.images / batch) * rates["step"]
        return float(self.knobs.epochs * (computing + starting))

    def memory(self) -> float:
        """Return the bytes of one process: weights, gradients, moments, average, and a batch."""
        copies = 5 if self.network in GENERATIVE.values() else 4
        batch = min(math.ceil(self.knobs.batch_size / self.parts), self.images)
        return 4 * copies * self.parameters + batch * self.of_image("bytes", 1)

    def of_image(self, rate: str, power: int) -> float:
        """Return the "seconds" of a core or the "bytes" of an image.

        power: how the rate grows with the channels of a level. Each level has a quarter of the
        pixels of the level before.
        """
        blocks, widths = self._levels()
        size = blocks * sum(width**power / 4**level for level, width in enumerate(widths))
        losses = RATES["losses"].get(getattr(self.knobs, "perceptual_network", None), {rate: 0})
        return float(self.side**2 * (RATES["networks"][self.network][rate] * size + losses[rate]))

    def _levels(self) -> tuple[int, list[float]]:
        """Return the blocks of a level, and the channels of the levels from the outermost on."""
        knobs = self.knobs
        if self.network == "convnet":
            return 1, [1]
        if self.network == "frozen":
            # The work grows with K, because each latent is compared with each codevector.
            return 1, [math.sqrt(knobs.codebook_size)]
        if self.network == "unet":
            widths = [knobs.unet_channels * factor for factor in knobs.unet_multipliers]
            return knobs.unet_blocks + 1, widths
        if self.network == "transformer":
            return knobs.transformer_layers, [knobs.transformer_width]
        if self.network == "gan":
            # Channels double with every level, down to a resolution of 4 x 4.
            levels = max(1, round(math.log2(self.side / 4)))
            return 1, [max(8.0, knobs.gan_channels / 2 ** (levels - i)) for i in range(levels + 1)]
        widths = [knobs.network_channels * factor for factor in MULTIPLES[knobs.downsampling]]
        return knobs.network_blocks + 1, widths


# (device, network, method) -> measured seconds over estimated seconds of each finished training.
Records = dict[tuple[str, str, str], list[float]]


def read_records(results: Path = Path("results")) -> Records:
    """Read the finished trainings of every budget below `results`.

    Outdated records count too, because a version changes the numbers of a training and hardly its
    time. Left out are trainings on several processes or threads, short trainings, and records that
    cannot be read.
    """
    ratios: Records = {}
    side_of = cache(lambda dataset: read_dataset(dataset).image_size)
    for file in sorted(results.glob("*/cells/*/*/*/*/train.json")):
        train = find(file, TrainRecord)
        if train is None or train.status != "finished" or train.seconds < SHORTEST:
            continue
        if train.threads * train.processes != 1:
            continue
        knobs = SimpleNamespace(**{**train.knobs, "epochs": train.epochs})
        device = "cpu" if train.device.startswith("cpu") else "gpu"
        try:
            side = train.shape[-1] if train.shape else side_of(knobs.dataset)
            work = Training(knobs, side, train.images)
            ratio = train.seconds / work.seconds(device)
            ratios.setdefault((device, work.network, knobs.method), []).append(ratio)
        except (BenchmarkError, AttributeError, LookupError, TypeError, ArithmeticError):
            continue
    return ratios


def estimate(work: Training, device: str, records: Records) -> Step:
    """Estimate a training on a "cpu" core, or on a GPU by any other name, such as torch's "cuda".

    The shipped rates are multiplied by the median ratio of the finished trainings on this kind of
    device with this network and method, or else with this network.
    """
    place = ("cpu" if device == "cpu" else "gpu", work.network)
    of_network = [ratio for key, ratios in records.items() if key[:2] == place for ratio in ratios]
    ratios = records.get((*place, work.knobs.method)) or of_network
    return Step(
        kind="train_generator" if work.network in GENERATIVE.values() else "train",
        seconds=work.seconds(place[0]) * (median(ratios) if ratios else 1),
        memory=work.memory(),
        source=f"{len(ratios)} finished trainings" if ratios else Step.source,
    )


def refuse_too_much(step: Step, free: float, lower: str) -> None:
    """Raise ConfigError for a training that needs too much memory or takes too many days.

    free: free bytes of the device. lower: the knobs that make the training smaller.
    """
    limit = os.environ.get(VARIABLE, DAYS)
    try:
        allowed = float(limit)
    except ValueError:
        allowed = math.nan
    if not allowed > 0:
        raise ConfigError(f"{VARIABLE}: expected a number of days above 0, got '{limit}'")
    if step.memory > TOLERANCE * free:
        sizes = f"{step.memory / GB:,.1f} GB, the device has {free / GB:,.1f} free"
        raise ConfigError(f"needs about {sizes}; lower {lower}")
    days = step.seconds / DAY
    if days > allowed:
        raise ConfigError(
            f"would take {days:,.1f} days, more than {VARIABLE}={limit}; lower epochs or {lower}, "
            f"or set {VARIABLE}"
        )


def minutes(step: Step, attempt: int, most: float) -> int:
    """Return the time limit of a job, which grows with every attempt, up to `most` minutes."""
    return math.ceil(min(attempt * (START_MINUTES + MARGIN * step.seconds / 60), most))


def megabytes(step: Step, attempt: int, device: str) -> int:
    """Return the main memory to ask for. A training on a GPU needs 2.5 GB beside the GPU's."""
    on_gpu = device == "gpu" and step.kind.startswith("train")
    return math.ceil(attempt * (START_MEGABYTES + 1.25 * (2.5e9 if on_gpu else step.memory) / 1e6))


@dataclass(frozen=True)
class Estimates:
    """Estimates of the steps of a plan on a "cpu" core or a "gpu"."""

    plan: Plan
    datasets: Mapping[str, Dataset]
    device: str
    records: Records

    def step(self, kind: str, name: str) -> Step:
        """Return the estimate of one step of a cell or a dataset."""
        steps = self.of_cell(name) if name in self.plan.cells else self.of_dataset(name)
        return next(step for step in steps if step.kind == kind)

    def of_dataset(self, name: str) -> list[Step]:
        """Return the steps that prepare a dataset, and its features for one protocol."""
        dataset = self.datasets[name]
        images = dataset.images.train + dataset.images.test
        cells = [cell for cell in self.plan.cells.values() if cell.dataset == name]
        compared = max(map(self._compared, cells), default=0)
        return [
            self._other("prepare", images, dataset),
            self._other("reference", compared, dataset),
        ]

    def of_cell(self, name: str) -> list[Step]:
        """Return the steps of a cell in order."""
        cell = self.plan.cells[name]
        knobs, dataset, compared = cell.knobs, self.datasets[cell.dataset], self._compared(cell)
        side = dataset.image_size
        if isinstance(knobs, Generative) and knobs.first_stage:
            side = math.ceil(side / getattr(self.plan.knobs(knobs.first_stage), "downsampling", 4))
        work = Training(knobs, side, cell.images)
        training = estimate(work, self.device, self.records)
        # A training step takes about three times as long as a pass forward.
        forward = work.of_image("seconds", 2) / 3 / self._speed
        if isinstance(knobs, Generative):
            seconds = knobs.samples * knobs.passes * forward
            sampling = Step("sample", seconds, 2e9 + 4 * work.parameters)
            images = knobs.samples + 6 * self.plan.progress_samples
            compared += knobs.samples
            return [training, sampling, self._other("evaluate_samples", images, dataset, compared)]
        latents = Step("latents", dataset.trained * forward / 2)
        if needs_features(cell.evaluation.metrics):
            images = len(cell.evaluation.protocols) * compared
            evaluation = self._other("evaluate", images, dataset, compared, forward)
        else:
            # No metric network runs, so reading the images takes longest, as in `prepare`.
            reading = self._other("prepare", dataset.images.test, dataset, 0, forward)
            evaluation = Step("evaluate", reading.seconds, reading.memory)
        return [training, latents, evaluation]

    def _other(
        self, kind: str, images: int, dataset: Dataset, compared: int = 0, forward: float = 0.0
    ) -> Step:
        """Return the estimate of a step that trains nothing.

        compared: how many images are compared with as many others. forward: seconds of an image in
        the model.
        """
        rates, pixels = RATES["steps"][kind], dataset.image_size**2
        rate = (rates["image"] + rates["pixel"] * pixels) / self._speed + rates["host"] * pixels
        seconds = images * (rate + forward) + rates["pair"] * compared**2
        return Step(kind, seconds, 1e9 + FEATURES * min(images, compared))

    @property
    def _speed(self) -> float:
        return float(RATES["devices"][self.device]["speed"]["fp32"])

    def _compared(self, cell: PlannedCell) -> int:
        """Return how many images the reconstructions or samples of a cell are compared with."""
        test = self.datasets[cell.dataset].images.test
        return cell.evaluation.reference_images or min(cell.evaluation.fid_images or test, test)
