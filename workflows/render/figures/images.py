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
from workflows.render.figures.layout import DOUBLE, GREY, page, title
from workflows.render.notes import NOTHING, budget, numbered, seeds_planned, short

ACROSS = 8  # images of a stored picture beside each other
ORIGINAL = "original"
# What stands before a row's name in that of a line that belongs to it, and what it is labelled.
ERROR, NEAREST = "error of ", "nearest to "
BELONGS = {ERROR: "error", NEAREST: "nearest\ntraining image"}
# 8-bit levels; larger errors have the last colour. The same in every figure, so that methods,
# datasets and budgets can be compared.
MOST = 128
UNIT = "absolute error of a pixel, mean of its channels (8-bit levels)"
# Line -> pictures (h, w, 3), errors (h, w), or words in their place.
Lines = dict[str, np.ndarray | str]


def reconstructions(data: Collected) -> Figure:
    """The originals on top, then for each method a line of its pictures and one of its errors."""
    table = "methods"
    lines = {}
    for dataset in data.datasets(table):
        of: Lines = {ORIGINAL: data.reason(table, dataset)}
        for row, file in data.first_files(table, dataset, data.picture).items():
            of[row] = file if isinstance(file, str) else ""
            if isinstance(file, Path):
                pixels = np.asarray(Image.open(file).convert("RGB"))
                images, made = np.split(pixels, 2)
                of[ORIGINAL], of[row] = images, made
                of[ERROR + row] = np.abs(images.astype(float) - made).mean(axis=2)
        lines[dataset] = of
    return _plate(data, table, lines, "Test images;")


def samples(data: Collected, table: str) -> Figure:
    """A line of samples for each row that was run, the first of its first seed."""
    return _plate(data, table, _sampled(data, table, ""), "Samples; nobody has chosen them.")


def neighbours(data: Collected, table: str) -> Figure:
    """Below each sample the training image whose Inception features are nearest to it."""
    measured = [name for name in data.datasets(table) if data.rows_measured(table, name)]
    among = [
        f"{captions.reference(data.plan, name)} ({short(data.plan, name)})" for name in measured
    ]
    about = f"Samples above the training images nearest to them, of {'; '.join(among)}."
    return _plate(data, table, _sampled(data, table, "neighbours"), about)


def _sampled(data: Collected, table: str, kind: str) -> dict[str, Lines]:
    lines: dict[str, Lines] = {}
    for dataset in data.datasets(table):
        files = data.first_files(table, dataset, lambda cell: data.picture(cell, kind))
        of = lines.setdefault(dataset, {})
        for row, file in files.items():
            of[row] = file if isinstance(file, str) else ""
            if isinstance(file, Path):
                pixels = np.asarray(Image.open(file).convert("RGB"))
                side = pixels.shape[1] // ACROSS
                of[row] = pixels[:side]
                if kind:
                    of[NEAREST + row] = pixels[side : 2 * side]
    return lines


def _plate(data: Collected, table: str, lines: Mapping[str, Lines], about: str) -> Figure:
    """A column for each dataset, a line of images for each row and for what belongs to it.

    about: what the small print says, before it names the seed.
    """
    planned = seeds_planned(data, table)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    runs = "runs" if about.endswith(";") else "Runs"
    said = f"{about} {runs} of {numbered(planned[:1])}{first}."
    pictures = [what for of in lines.values() for what in of.values() if not isinstance(what, str)]
    if not any(data.rows_measured(table, name) for name in lines):
        said = NOTHING
    rows = list(dict.fromkeys(row for of in lines.values() for row in of if not _label(row)))
    order = [
        name
        for row in rows
        for name in (row, *(prefix + row for prefix in BELONGS))
        if any(name in of for of in lines.values())
    ]
    wide = (DOUBLE - 1.0) / len(lines)
    errors = any(what.ndim == 2 for what in pictures)
    tall = len(order) * (wide / ACROSS + 0.05) + 0.4 + 0.5 * errors
    figure = page(DOUBLE, tall, [f"{budget(data, table, lines)} {said}"])
    axes = figure.subplots(len(order), len(lines), squeeze=False)
    for column, (dataset, of) in enumerate(lines.items()):
        axes[0, column].set_title(title(data.plan, dataset, table), loc="left")
        for ax, row in zip(axes[:, column], order, strict=True):
            _strip(ax, of.get(row, ""))
            if column == 0:
                colour = GREY if _label(row) else "black"
                label = _label(row) or row.replace(" (", "\n(").replace(" + ", "\n+ ")
                ax.set_ylabel(label, rotation=0, ha="right", va="center", color=colour)
    shown = [ax.images[0] for ax in axes.flat if ax.images and ax.images[0].get_array().ndim == 2]
    if shown:
        bar = figure.colorbar(
            shown[0], ax=axes, location="bottom", shrink=0.3, aspect=25, extend="max", label=UNIT
        )
        bar.set_ticks([0, MOST // 2, MOST])
    return figure


def _label(line: str) -> str:
    """The label of a line that belongs to the one above it; nothing for a row's own."""
    return next((text for prefix, text in BELONGS.items() if line.startswith(prefix)), "")


def _strip(ax: Axes, what: np.ndarray | str) -> None:
    """Images side by side, or words where there are none."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
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
