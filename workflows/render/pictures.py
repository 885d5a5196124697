"""Test images, below them what each method makes of them, and below that where it errs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from workflows.render import errors
from workflows.render.collected import Collected
from workflows.render.lettering import height, width
from workflows.render.notes import numbered, seeds_planned
from workflows.render.panels import ABREAST, EDGE, Page, broken, room_below, small_print, title
from workflows.render.style import DPI, GREY, LABEL, TITLE
from workflows.render.tiles import PITCH, Corner, halves, scale, tiled

TABLE = "methods"
ORIGINAL = "original"
ERROR = "error of "  # and the method
WIDE = 2.6  # of words in the place of a dataset's pictures
ASIDE = 0.15  # between two datasets
APART = 0.04  # between two methods, beyond the pitch
Lines = dict[str, np.ndarray | str]


def shown(data: Collected, dataset: str) -> Lines:
    """What the lines of a dataset show: the first seed's picture, or why there is none.

    A reason that the first line gives is not repeated in full. Errors have lines of their own,
    after those of the methods.
    """
    found: Lines = {ORIGINAL: data.reason(TABLE, dataset)}
    maps: Lines = {}
    for runs in data.runs(TABLE, dataset):
        first = data.plan.rows_of(TABLE, dataset)[runs.row][0]
        path = data.picture(first)
        if first in runs.failed or path is None:
            found[runs.row] = runs.failed.get(first, "not measured")
        else:
            images, reconstructed = halves(path)
            found[ORIGINAL], found[runs.row] = tiled(images), tiled(reconstructed)
            maps[ERROR + runs.row] = tiled(errors.error_map(images, reconstructed))
    said = str(found[ORIGINAL]) if isinstance(found[ORIGINAL], str) else ""
    short = {
        row: what.split(":")[0] if isinstance(what, str) and said.endswith(f": {what}") else what
        for row, what in found.items()
    }
    return short | maps


def reconstructions(data: Collected) -> Figure:
    """The originals on top, then for each method a line of its pictures and one of its errors."""
    datasets = data.datasets(TABLE)
    lines = {name: shown(data, name) for name in datasets}
    labels = _ordered(lines.values())
    left = max((width(_label(row), LABEL) for row in labels), default=0) + 0.06
    abreast = min(max(len(datasets), 1), ABREAST)
    widths = {name: _width(some) for name, some in lines.items()}
    # Each column is as wide as its widest dataset.
    columns = [max(list(widths.values())[at::abreast], default=WIDE) for at in range(abreast)]
    wide = left + sum(columns) + ASIDE * (abreast - 1)
    titles = [title(data.plan, name, widths[name]) for name in datasets]
    head = height(max((text.count("\n") for text in titles), default=0) + 1, TITLE) + 0.06
    middles = _middles(labels)
    block = head + max(middles.values(), default=0.0) + PITCH / 2 + ASIDE
    planned = seeds_planned(data, TABLE)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    runs = f"Test images; runs of {numbered(planned[:1])}{first}."
    text = broken([f"{data.plan.title}. {runs}"], wide)
    free = wide - left - EDGE
    key = errors.room(free) if any(row.startswith(ERROR) for row in labels) else 0.0
    tall = block * -(-len(datasets) // abreast) - ASIDE + 0.06 + key + room_below(text)
    figure = Page(wide, tall).figure()
    small_print(figure, text)
    for index, name in enumerate(datasets):
        down, right = divmod(index, abreast)
        corner = Corner(figure, left + sum(columns[:right]) + ASIDE * right, block * down)
        corner.write(0, head - 0.04, titles[index], TITLE, va="bottom")
        for row, middle in middles.items():
            if right == 0:
                place = {"ha": "right", "va": "center"}
                colour = GREY if row.startswith(ERROR) else "black"
                corner.write(-0.05, head + middle, _label(row), LABEL, color=colour, **place)
            corner.put(head + middle, lines[name].get(row, ""), widths[name])
    if key:
        errors.key(figure, left, room_below(text), free)
    return figure


def _ordered(lines: Iterable[Lines]) -> list[str]:
    """Every line's name, a method's errors after the method."""
    names = list(dict.fromkeys(row for some in lines for row in some))
    methods = [name for name in names if not name.startswith(ERROR)]
    return [name for row in methods for name in (row, ERROR + row) if name in names]


def _middles(labels: list[str]) -> dict[str, float]:
    """Line -> its middle, inches below the heading; a method stands apart from the next."""
    found: dict[str, float] = {}
    top = 0.0
    for row in labels:
        top += APART if found and not row.startswith(ERROR) else 0
        found[row] = top + PITCH / 2
        top += PITCH
    return found


def _width(lines: Lines) -> float:
    """Of a dataset's pictures, in inches; of words, as much as of large pictures."""
    pictures = [what for what in lines.values() if not isinstance(what, str)]
    return max((scale(what) * what.shape[1] / DPI for what in pictures), default=WIDE)


def _label(row: str) -> str:
    """In two lines where it is long."""
    if row.startswith(ERROR):
        return "error"
    return row.replace(" (", "\n(").replace(" + ", "\n+ ")
