"""Figures of small images: reconstructions with errors, and samples with their neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from workflows.render import captions
from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, bare, page, title
from workflows.render.notes import NOTHING, budget, first_seed

ACROSS = 8  # images of a stored picture beside each other
ORIGINAL = "original"
# 8-bit levels; larger errors have the last colour. The same in every figure, so that methods,
# datasets and budgets can be compared.
MOST = 128
UNIT = "absolute error of a pixel, mean of its channels (8-bit levels)"
# Row -> strips below each other: pictures (h, w, 3), errors (h, w), or words in their place.
Strips = dict[str, list[np.ndarray | str]]


def reconstructions(data: Collected) -> Figure:
    """The originals on top, then for each method a line of its pictures and one of its errors."""
    table = "methods"
    strips: dict[str, Strips] = {}
    for dataset in data.plan.datasets_of(table):
        of = strips[dataset] = {ORIGINAL: [data.reason(table, dataset)]}
        for row, file in data.first_files(table, dataset, "reconstructions.png").items():
            of[row] = [str(file)]
            if isinstance(file, Path):
                images, made = np.split(np.asarray(Image.open(file).convert("RGB")), 2)
                of[ORIGINAL] = [images]
                of[row] = [made, np.abs(images.astype(float) - made).mean(axis=2)]
    return _plate(data, table, strips, "error", "Test images; runs")


def samples(data: Collected, table: str) -> Figure:
    """A line of samples for each row that was run, the first of its first seed."""
    strips = _sampled(data, table, "samples.png", 1)
    return _plate(data, table, strips, "", "Samples; nobody has chosen them. Runs")


def neighbours(data: Collected, table: str) -> Figure:
    """Below each sample the training image whose Inception features are nearest to it."""
    plan = data.plan
    among = "; ".join(
        f"{captions.reference(plan, name)} ({captions.short(plan, name)})"
        for name in plan.datasets_of(table)
        if data.rows_measured(table, name)
    )
    about = f"Samples above the training images nearest to them, of {among}. Runs"
    strips = _sampled(data, table, "neighbours.png", 2)
    return _plate(data, table, strips, "nearest\ntraining image", about)


def _sampled(data: Collected, table: str, name: str, count: int) -> dict[str, Strips]:
    """The first strips of the pictures of that name."""
    strips: dict[str, Strips] = {}
    for dataset in data.plan.datasets_of(table):
        of = strips[dataset] = {}
        for row, file in data.first_files(table, dataset, name).items():
            of[row] = [str(file)]
            if isinstance(file, Path):
                pixels = np.asarray(Image.open(file).convert("RGB"))
                side = pixels.shape[1] // ACROSS
                of[row] = [pixels[n * side : (n + 1) * side] for n in range(count)]
    return strips


def _plate(
    data: Collected, table: str, strips: Mapping[str, Strips], below: str, about: str
) -> Figure:
    """A column for each dataset, a line of images for each row and for what belongs to it.

    below: the label of a row's second strip. about: what the small print says before the seed.
    """
    said = f"{about} {first_seed(data, table)}."
    if not any(data.rows_measured(table, name) for name in strips):
        said = NOTHING
    order = [
        (row, n)
        for row in dict.fromkeys(row for of in strips.values() for row in of)
        for n in range(max(len(of.get(row, [])) for of in strips.values()))
    ]
    errors = any(
        not isinstance(what, str) and what.ndim == 2
        for of in strips.values()
        for parts in of.values()
        for what in parts
    )
    wide = (DOUBLE - 1.0) / len(strips)
    tall = len(order) * (wide / ACROSS + 0.05) + 0.4 + 0.5 * errors
    figure = page(DOUBLE, tall, [f"{budget(data, table, strips)} {said}"])
    axes = figure.subplots(len(order), len(strips), squeeze=False)
    for column, (dataset, of) in enumerate(strips.items()):
        axes[0, column].set_title(title(data.plan, dataset, table), loc="left")
        for ax, (row, n) in zip(axes[:, column], order, strict=True):
            parts = of.get(row, [])
            _strip(ax, parts[n] if n < len(parts) else "")
            if column == 0:
                label = below if n else row.replace(" (", "\n(").replace(" + ", "\n+ ")
                colour = GREY if n else "black"
                ax.set_ylabel(label, rotation=0, ha="right", va="center", color=colour)
    shown = [ax.images[0] for ax in axes.flat if ax.images and ax.images[0].get_array().ndim == 2]
    if shown:
        bar = figure.colorbar(
            shown[0], ax=axes, location="bottom", shrink=0.3, aspect=25, extend="max", label=UNIT
        )
        bar.set_ticks([0, MOST // 2, MOST])
    return figure


def _strip(ax: Axes, what: np.ndarray | str) -> None:
    """Images side by side, or words where there are none."""
    bare(ax)
    if isinstance(what, str):
        # The reasons are whole in the table; here they must not reach over the next dataset.
        words = what if len(what) < 60 else f"{what[:59]}…"
        text = ax.text(0, 0.5, words, transform=ax.transAxes, va="center", color=GREY)
        text.set_in_layout(False)
        return
    # "none" keeps the stored pixels in the SVG too, where "nearest" would resample them.
    tiles = np.split(what, what.shape[1] // what.shape[0], axis=1)
    gap = np.full((what.shape[0], max(1, what.shape[0] // 32), *what.shape[2:]), 255, what.dtype)
    if what.ndim == 2:
        gap[:] = np.nan
    parts = [part for tile in tiles for part in (gap, tile)]
    ax.imshow(np.concatenate(parts[1:], axis=1), "magma", vmin=0, vmax=MOST, interpolation="none")
