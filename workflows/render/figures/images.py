"""Figures of small images: reconstructions with their errors, and samples with their neighbours."""

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

ACROSS = 8  # images beside each other in a stored picture
ORIGINAL, ERROR = "original", "error"
# Errors of this many 8-bit levels and more have the last colour. All figures share this bound, so
# that methods, datasets and budgets can be compared.
LARGEST_ERROR = 128
UNIT = "absolute error of a pixel, mean of its channels (8-bit levels)"
# Row -> its strips from top to bottom: pictures (h, w, 3), errors (h, w), or why it has none.
Strips = dict[str, list[np.ndarray | str]]


def reconstructions(data: Collected) -> Drawing:
    """The originals on top, then for each method a line of its pictures and one of its errors."""
    table = "methods"
    plate: dict[str, Strips] = {}
    for dataset, stored in _stored(data, table, "reconstructions.png", 2).items():
        plate[dataset] = {ORIGINAL: [data.reason(table, dataset)], **stored}
        for row, strips in stored.items():
            if len(strips) == 2:
                originals, pictures = map(np.asarray, strips)
                errors = np.abs(originals.astype(float) - pictures).mean(axis=2)
                plate[dataset] |= {ORIGINAL: [originals], row: [pictures, errors]}
    return _draw(data, table, plate, ERROR, "the first test images")


def samples(data: Collected, table: str) -> Drawing:
    """A line of samples for each row that was run, the first of its first seed."""
    return _draw(data, table, _stored(data, table, "samples.png", 1), "", "the first samples")


def neighbours(data: Collected, table: str) -> Drawing:
    """Below each sample the training image whose Inception features are nearest to it."""
    plate = _stored(data, table, "neighbours.png", 2)
    return _draw(data, table, plate, "nearest", "samples above the nearest training images")


def _stored(data: Collected, table: str, name: str, count: int) -> dict[str, Strips]:
    """Return dataset -> row -> the first `count` strips of the picture of that name."""

    def strips(file: Path | str) -> list[np.ndarray | str]:
        if isinstance(file, str):
            return [file]
        pixels = np.asarray(Image.open(file).convert("RGB"))
        return list(np.split(pixels, len(pixels) * ACROSS // pixels.shape[1])[:count])

    return {
        dataset: {row: strips(file) for row, file in data.first_files(table, dataset, name).items()}
        for dataset in data.plan.datasets_of(table)
    }


def _draw(
    data: Collected, table: str, plate: Mapping[str, Strips], second: str, content: str
) -> Drawing:
    """Draw a column for each dataset, and in it a line of images for each strip of each row.

    second: the label of a row's second strip. content: what the caption says about the images.
    """
    lines = [
        (row, number)
        for row in dict.fromkeys(row for rows in plate.values() for row in rows)
        for number in range(max(len(rows.get(row, [])) for rows in plate.values()))
    ]
    width = (DOUBLE - 1.0) / len(plate)
    height = len(lines) * (width / ACROSS + 0.05) + (0.95 if second == ERROR else 0.55)
    seed = data.plan.knobs(data.plan.lines_of(table)[0].cell).seed
    caption = f"Budget {data.plan.budget}; {content}, nobody has chosen them; seed {seed}."
    figure = page(DOUBLE, height, caption)
    axes = figure.subplots(len(lines), len(plate), squeeze=False)
    for column, (dataset, rows) in zip(axes.T, plate.items(), strict=True):
        column[0].set_title(short(data.plan, dataset, table), loc="left")
        for ax, (row, number) in zip(column, lines, strict=True):
            strips = rows.get(row, [])
            _draw_strip(ax, strips[number] if number < len(strips) else "")
    for ax, (row, number) in zip(axes[:, 0], lines, strict=True):
        label = second if number else row.replace(" (", "\n(").replace(" + ", "\n+ ")
        colour = GREY if number else "black"
        ax.set_ylabel(label, rotation=0, ha="right", va="center", color=colour)
    errors = [ax.images[0] for ax in axes.flat if ax.images and ax.images[0].get_array().ndim == 2]
    if errors:
        bar = figure.colorbar(
            errors[0], ax=axes, location="bottom", shrink=0.3, aspect=25, extend="max", label=UNIT
        )
        bar.set_ticks([0, LARGEST_ERROR // 2, LARGEST_ERROR])
    return Drawing(figure, _numbers(plate))


def _draw_strip(ax: Axes, strip: np.ndarray | str) -> None:
    """Draw the images of a strip side by side with gaps, or write why there are none."""
    bare(ax)
    if isinstance(strip, str):
        # The table gives the whole reason. Here the text must not run into the next dataset's
        # column.
        words(ax, strip)
        return
    height, blank = len(strip), 255 if strip.ndim == 3 else np.nan
    gap = np.full((height, max(1, height // 32), *strip.shape[2:]), blank, strip.dtype)
    spaced = [part for tile in _tiles(strip) for part in (gap, tile)][1:]
    pixels = np.concatenate(spaced, axis=1)
    # "none" keeps the stored pixels in the SVG too, where "nearest" would resample them.
    ax.imshow(pixels, "magma", vmin=0, vmax=LARGEST_ERROR, interpolation="none")


def _numbers(plate: Mapping[str, Strips]) -> pd.DataFrame:
    """Return dataset, row, number from 1 and mean error of each image that is drawn."""
    lines = []
    for dataset, rows in plate.items():
        for row, (pictures, *others) in rows.items():
            if isinstance(pictures, str):
                continue
            errors = [strip for strip in map(np.asarray, others) if strip.ndim == 2]
            for index in range(len(_tiles(pictures))):
                error = float(_tiles(errors[0])[index].mean()) if errors else None
                lines.append((dataset, row, index + 1, error))
    return pd.DataFrame(lines, columns=["dataset", "row", "image", "error"])


def _tiles(strip: np.ndarray) -> list[np.ndarray]:
    """Return the square images of a strip."""
    return np.split(strip, strip.shape[1] // strip.shape[0], axis=1)
