"""Test images, and below them what each method makes of them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from workflows.render.collected import Collected
from workflows.render.lettering import height, width
from workflows.render.notes import numbered, seeds_planned
from workflows.render.panels import ABREAST, Page, broken, room_below, small_print, title
from workflows.render.style import DPI, LABEL, TITLE
from workflows.render.tiles import PITCH, Corner, halves, scale

TABLE = "methods"
ORIGINAL = "original"
WIDE = 2.6  # of words in the place of a dataset's pictures
ASIDE = 0.15  # between two datasets


def shown(data: Collected, dataset: str) -> dict[str, np.ndarray | str]:
    """What the lines of a dataset show, in order: the first seed's picture, or why there is none.

    A reason that the first line gives is not repeated in full.
    """
    found: dict[str, np.ndarray | str] = {ORIGINAL: data.reason(TABLE, dataset)}
    for runs in data.runs(TABLE, dataset):
        first = data.plan.rows_of(TABLE, dataset)[runs.row][0]
        path = data.picture(first)
        if first in runs.failed or path is None:
            found[runs.row] = runs.failed.get(first, "not measured")
        else:
            found[ORIGINAL], found[runs.row] = halves(path)
    said = str(found[ORIGINAL]) if isinstance(found[ORIGINAL], str) else ""
    return {
        row: what.split(":")[0] if isinstance(what, str) and said.endswith(f": {what}") else what
        for row, what in found.items()
    }


def reconstructions(data: Collected) -> Figure:
    """The originals on top, then a line for each method."""
    datasets = data.datasets(TABLE)
    lines = {name: shown(data, name) for name in datasets}
    labels = list(dict.fromkeys(row for some in lines.values() for row in some))
    left = max((width(_label(row), LABEL) for row in labels), default=0) + 0.06
    abreast = min(max(len(datasets), 1), ABREAST)
    widths = {name: _width(some) for name, some in lines.items()}
    # Each column is as wide as its widest dataset.
    columns = [max(list(widths.values())[at::abreast], default=WIDE) for at in range(abreast)]
    wide = left + sum(columns) + ASIDE * (abreast - 1)
    titles = [title(data.plan, name, widths[name]) for name in datasets]
    head = height(max((text.count("\n") for text in titles), default=0) + 1, TITLE) + 0.06
    block = head + PITCH * len(labels) + ASIDE
    planned = seeds_planned(data, TABLE)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    runs = f"Test images; runs of {numbered(planned[:1])}{first}."
    text = broken([f"{data.plan.title}. {runs}"], wide)
    tall = block * -(-len(datasets) // abreast) - ASIDE + 0.06 + room_below(text)
    figure = Page(wide, tall).figure()
    small_print(figure, text)
    for index, name in enumerate(datasets):
        down, right = divmod(index, abreast)
        corner = Corner(figure, left + sum(columns[:right]) + ASIDE * right, block * down)
        corner.write(0, head - 0.04, titles[index], TITLE, va="bottom")
        for line, row in enumerate(labels):
            middle = head + PITCH * (line + 0.5)
            if right == 0:
                corner.write(-0.05, middle, _label(row), LABEL, ha="right", va="center")
            corner.put(middle, lines[name].get(row, ""), widths[name])
    return figure


def _width(lines: dict[str, np.ndarray | str]) -> float:
    """Of a dataset's pictures, in inches; of words, as much as of large pictures."""
    pictures = [what for what in lines.values() if not isinstance(what, str)]
    return max((scale(what) * what.shape[1] / DPI for what in pictures), default=WIDE)


def _label(row: str) -> str:
    """In two lines where it is long."""
    return row.replace(" (", "\n(").replace(" + ", "\n+ ")
