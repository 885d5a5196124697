"""What the tables and figures show: the plan that the workflow writes down, with questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Published results on the same photographs at another size: beside ours, never subtracted.
OTHER_SIZE = {"ffhq_64": "ffhq"}
# Datasets that a budget's own may stand in for, or that publications used.
TITLES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR10",
    "ffhq": "FFHQ",
    "ffhq_64": "FFHQ, 64 x 64",
    "celeba_64": "CelebA, 64 x 64",
    "tiny_imagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
    "lsun_churches": "LSUN churches",
    "lsun_bedrooms": "LSUN bedrooms",
}


@dataclass(frozen=True)
class Plan:
    """budget, title: the budget's name and description. cells: id -> {folder, knobs, missing}.

    rows: {table, row, cell} in the order of the experiment files. tables: name -> {title, caption,
    metrics, stage, order (of all rows), stands_for (dataset -> the paper's in whose place it is),
    published ({rows, datasets} of which there may be published numbers, at whatever budget)}.
    datasets: name -> {title, stand_in_for, images (to train on)}. absent: {table, dataset, rows,
    note} of what this budget has no dataset for. roles: role -> dataset. claims: what is to be
    judged. figures: name -> {table, title, caption, data, more}. reference_images: training images
    that samples are compared with, None for all. progress_samples: so many of them are looked at
    during training.
    """

    budget: str
    title: str
    cells: Mapping[str, Mapping[str, Any]]
    rows: tuple[Mapping[str, str], ...]
    tables: Mapping[str, Mapping[str, Any]]
    datasets: Mapping[str, Mapping[str, Any]]
    absent: tuple[Mapping[str, Any], ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Mapping[str, Any], ...] = ()
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference_images: int | None = None
    progress_samples: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Plan:
        """From the parsed JSON. Raises KeyError for a missing key."""
        keys = ("budget", "title", "cells", "tables", "datasets")
        return cls(
            rows=tuple(content["rows"]),
            absent=tuple(content.get("absent", ())),
            roles=content.get("roles", {}),
            claims=tuple(content.get("claims", ())),
            figures=content.get("figures", {}),
            reference_images=content.get("reference_images"),
            progress_samples=content.get("progress_samples"),
            **{key: content[key] for key in keys},
        )

    def knobs(self, cell: str) -> Mapping[str, Any]:
        """The settings of a cell."""
        return self.cells[cell]["knobs"]

    def datasets_of(self, table: str) -> list[str]:
        """Datasets of a table, in the order of its rows."""
        return list(
            dict.fromkeys(self.knobs(line["cell"])["dataset"] for line in self.lines_of(table))
        )

    def rows_of(self, table: str, dataset: str) -> dict[str, list[str]]:
        """Row -> its cells (one a seed) on a dataset, in order."""
        found: dict[str, list[str]] = {}
        for line in self.lines_of(table):
            if self.knobs(line["cell"])["dataset"] == dataset:
                found.setdefault(line["row"], []).append(line["cell"])
        return found

    def training_of(
        self, table: str, dataset: str, rows: Collection[str] = ()
    ) -> list[tuple[int, int]]:
        """The different (training images, batch size) of a table's runs on a dataset, sorted.

        rows: all if none are named.
        """
        return sorted({self._size(cell) for cell in self._cells(table, dataset, rows)})

    def trained(self, table: str, dataset: str, rows: Collection[str] = ()) -> str:
        """The `length` of the trainings of these rows, or of all, as it is planned."""
        return self._length(self._cells(table, dataset, rows))

    def trained_below(self, table: str, dataset: str, rows: Collection[str] = ()) -> str:
        """The `length` of the trainings of the first stages below these rows, or below all, as it
        is planned; empty if none has one.
        """
        cells = self._cells(table, dataset, rows)
        below = {self.knobs(cell).get("first_stage") for cell in cells}
        return self._length(found) if (found := [name for name in below if name]) else ""

    def _length(self, cells: Collection[str]) -> str:
        epochs = {self.knobs(cell)["epochs"] for cell in cells}
        return length(epochs, sorted({self._size(cell) for cell in cells}))

    def _size(self, cell: str) -> tuple[int, int]:
        knobs = self.knobs(cell)
        images = knobs["train_images"] or self.datasets[knobs["dataset"]]["images"]
        return images, knobs["batch_size"]

    def _cells(self, table: str, dataset: str, rows: Collection[str]) -> list[str]:
        found = self.rows_of(table, dataset).items()
        return [cell for row, cells in found if not rows or row in rows for cell in cells]

    def networks_of(self, table: str, dataset: str, rows: Collection[str]) -> list[str]:
        """What is to be said of the networks of those rows' runs on a dataset, and of which rows,
        unless it is of all.
        """
        return self._told(table, dataset, rows, lambda cell: described(self.knobs(cell)))

    def first_stages_of(self, table: str, dataset: str, rows: Collection[str]) -> list[str]:
        """How long the first stages below those rows' runs were trained and in which networks,
        and of which rows, unless it is of all. Nothing of models of pixels.
        """

        def first_stage(cell: str) -> str:
            name = self.knobs(cell).get("first_stage")
            if name is None:
                return ""
            text = f"first stage of {self._length([name])}"
            network = described(self.knobs(name))
            return f"{text}, {network}" if network else text

        return self._told(table, dataset, rows, first_stage)

    def _told(
        self, table: str, dataset: str, rows: Collection[str], tell: Callable[[str], str]
    ) -> list[str]:
        found: dict[str, list[str]] = {}
        for row, cells in self.rows_of(table, dataset).items():
            if row in rows:
                found.setdefault(tell(cells[0]), []).append(row)
        return [
            text[0].upper() + text[1:] if len(found) == 1 else f"{', '.join(of)}: {text}"
            for text, of in found.items()
            if text
        ]

    def lines_of(self, table: str) -> list[Mapping[str, str]]:
        """The lines of `rows` that belong to a table. Raises KeyError for an unknown table."""
        if table not in self.tables:
            raise KeyError(f"unknown table '{table}'; allowed: {', '.join(self.tables)}")
        return [line for line in self.rows if line["table"] == table]

    def stands_for(self, dataset: str, table: str | None = None) -> str | None:
        """The dataset in whose place this one is, in a table if one is named; None for none."""
        real = self.tables.get(table or "", {}).get("stands_for", {}).get(dataset)
        if real is None:
            real = self.datasets[dataset]["stand_in_for"] if dataset in self.datasets else None
        return None if real == dataset else real

    def dataset_title(self, dataset: str, table: str | None = None) -> str:
        """Its title, saying what it stands in for, in a table if one is named."""
        real = self.stands_for(dataset, table)
        return self.title_of(dataset) + (f" (stand-in for {self.title_of(real)})" if real else "")

    def title_of(self, dataset: str) -> str:
        """The title of a dataset, which need not be part of this plan."""
        if dataset in self.datasets:
            return self.datasets[dataset]["title"]
        return TITLES.get(dataset, dataset)

    def published_dataset(self, dataset: str, table: str | None = None) -> str:
        """The dataset whose published numbers belong beside this one's, in a table if named."""
        real = self.stands_for(dataset, table) or dataset
        return OTHER_SIZE.get(real, real)

    def reference_of(self, dataset: str) -> str:
        """In words, the training images that samples of a dataset's models are compared with."""
        there = self.datasets[dataset]["images"]
        wanted = self.reference_images or there
        return f"the first {wanted:,} of {there:,}" if wanted < there else f"all {there:,}"

    def published_datasets(self, table: str) -> list[str]:
        """The datasets of which a table may have published numbers, at this budget or another."""
        names = self.tables[table]["published"]["datasets"]
        return list(dict.fromkeys(OTHER_SIZE.get(name, name) for name in names))

    def stage_of(self, cell: str) -> int:
        """1: an autoencoder. 2: a diffusion model."""
        return int(self.cells[cell].get("stage", 1))


def length(epochs: Collection[int], sizes: Iterable[tuple[int, int]]) -> str:
    """In words: "2 to 4 epochs over 12,000 images at batch 16". sizes: (images, batch size)."""
    first, last = min(epochs), max(epochs)
    span = f"{first:,}" if first == last else f"{first:,} to {last:,}"
    batches: dict[int, list[str]] = {}
    for images, batch in sizes:
        batches.setdefault(images, []).append(f"{batch:,}")
    over = " or ".join(f"{of:,} images at batch {' or '.join(batches[of])}" for of in batches)
    return f"{span} {'epoch' if last == 1 else 'epochs'} over {over}"


def described(knobs: Mapping[str, Any]) -> str:
    """The size of a network that budgets make smaller than the published; empty for one of which
    there is one size.
    """
    if "unet_channels" in knobs:
        levels = ", ".join(str(factor) for factor in knobs["unet_multipliers"])
        asked = f", guidance {knobs['guidance']:g}" if knobs["guidance"] != 1 else ""
        return (
            f"U-Net of {knobs['unet_channels']} channels times {levels}, "
            f"{knobs['sampling_steps']} sampling steps{asked}"
        )
    if knobs.get("network") != "vqgan":
        return ""
    distance = {"vgg": "VGG16", "alex": "AlexNet"}[knobs["perceptual_network"]]
    return (
        f"VQGAN of {knobs['network_channels']} channels, f = {knobs['downsampling']}, with "
        f"{distance}'s LPIPS and a critic from step {knobs['adversarial_start']:,}"
    )
