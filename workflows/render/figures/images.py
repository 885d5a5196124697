"""Figures of small images: reconstructions with errors, and samples with their neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from workflows.render.captions import short
from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, Drawing, bare, page, words

ACROSS = 8  # images of a stored picture beside each other
ORIGINAL = "original"
# 8-bit levels; larger errors have the last colour. The same in every figure, so that methods,
# datasets and budgets can be compared.
MOST = 128
UNIT = "absolute error of a pixel, mean of its channels (8-bit levels)"
# Row -> strips below each other: pictures (h, w, 3), errors (h, w), or words in their place.
Strips = dict[str, list[np.ndarray | str]]


def reconstructions(data: Collected) -> Drawing:
    """The originals on top, then for each method a line of its pictures and one of its errors."""
    table = "methods"
    stored = _stored(data, table, "reconstructions.png", 2)
    strips: dict[str, Strips] = {}
    for dataset, rows in stored.items():
        of = strips[dataset] = {ORIGINAL: [data.reason(table, dataset)]}
        for row, parts in rows.items():
            of[row] = parts
            if not isinstance(parts[0], str):
                images, made = (np.asarray(part) for part in parts)
                of[ORIGINAL] = [images]
                of[row] = [made, np.abs(images.astype(float) - made).mean(axis=2)]
    return _plate(data, table, strips, "error", "the first test images")


def samples(data: Collected, table: str) -> Drawing:
    """A line of samples for each row that was run, the first of its first seed."""
    return _plate(data, table, _stored(data, table, "samples.png", 1), "", "the first samples")


def neighbours(data: Collected, table: str) -> Drawing:
    """Below each sample the training image whose Inception features are nearest to it."""
    strips = _stored(data, table, "neighbours.png", 2)
    return _plate(data, table, strips, "nearest", "samples above the nearest training images")


def _stored(data: Collected, table: str, name: str, count: int) -> dict[str, Strips]:
    """The first strips of the pictures of that name, by dataset."""

    def strips(file: Path | str) -> list[np.ndarray | str]:
        if isinstance(file, str):
            return [file]
        pixels = np.asarray(Image.open(file).convert("RGB"))
        return list(np.split(pixels, len(pixels) * ACROSS // pixels.shape[1])[:count])

    return {
        dataset: {row: strips(file) for row, file in data.first_files(table, dataset, name).items()}
        for dataset in data.plan.datasets_of(table)
    }


def _plate(
    data: Collected, table: str, strips: Mapping[str, Strips], below: str, about: str
) -> Drawing:
    """A column for each dataset, a line of images for each row and for what belongs to it.

    below: the label of a row's second strip. about: what the images are.
    """
    parts = [(name, row, strip) for name, of in strips.items() for row, strip in of.items()]
    order = [
        (row, n)
        for row in dict.fromkeys(row for _, row, _ in parts)
        for n in range(max(len(strip) for _, of, strip in parts if of == row))
    ]
    wide = (DOUBLE - 1.0) / len(strips)
    tall = len(order) * (wide / ACROSS + 0.05) + 0.55
    seed = data.plan.knobs(data.plan.lines_of(table)[0].cell).seed
    caption = f"Budget {data.plan.budget}; {about}, nobody has chosen them; seed {seed}."
    figure = page(DOUBLE, tall + 0.4 * (below == "error"), caption)
    axes = figure.subplots(len(order), len(strips), squeeze=False)
    for column, (dataset, of) in enumerate(strips.items()):
        axes[0, column].set_title(short(data.plan, dataset, table), loc="left")
        for ax, (row, n) in zip(axes[:, column], order, strict=True):
            _strip(ax, of[row][n] if n < len(of.get(row, [])) else "")
            if column == 0:
                label = below if n else row.replace(" (", "\n(").replace(" + ", "\n+ ")
                colour = GREY if n else "black"
                ax.set_ylabel(label, rotation=0, ha="right", va="center", color=colour)
    errors = [ax.images[0] for ax in axes.flat if ax.images and ax.images[0].get_array().ndim == 2]
    if errors:
        bar = figure.colorbar(
            errors[0], ax=axes, location="bottom", shrink=0.3, aspect=25, extend="max", label=UNIT
        )
        bar.set_ticks([0, MOST // 2, MOST])
    shown = []
    for name, row, (first, *rest) in parts:
        errors_of = [what for what in rest if not isinstance(what, str) and what.ndim == 2]
        for n, _ in enumerate([] if isinstance(first, str) else _tiles(first)):
            error = float(_tiles(errors_of[0])[n].mean()) if errors_of else None
            shown.append((name, row, n + 1, error))
    return Drawing(figure, pd.DataFrame(shown, columns=["dataset", "row", "image", "error"]))


def _strip(ax: Axes, what: np.ndarray | str) -> None:
    """Images side by side, or words where there are none."""
    bare(ax)
    if isinstance(what, str):
        # The reasons are whole in the table; here they must not reach over the next dataset.
        words(ax, what)
        return
    gap = np.full((what.shape[0], max(1, what.shape[0] // 32), *what.shape[2:]), 255, what.dtype)
    if what.ndim == 2:
        gap[:] = np.nan
    spaced = [part for tile in _tiles(what) for part in (gap, tile)]
    # "none" keeps the stored pixels in the SVG too, where "nearest" would resample them.
    ax.imshow(np.concatenate(spaced[1:], axis=1), "magma", vmin=0, vmax=MOST, interpolation="none")


def _tiles(strip: np.ndarray) -> list[np.ndarray]:
    """The square images of a strip."""
    return np.split(strip, strip.shape[1] // strip.shape[0], axis=1)
