"""Lines of small images: a column a dataset, a line a row, below it what belongs to the row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure

from workflows.render import errors
from workflows.render.collected import Collected
from workflows.render.lettering import height, width
from workflows.render.panels import ABREAST, EDGE, Page, broken, room_below, small_print, title
from workflows.render.style import DPI, GREY, LABEL, TITLE
from workflows.render.tiles import PITCH, Corner, scale

# What stands before a row's name in that of a line that belongs to it, and what it is labelled.
ERROR = "error of "
NEAREST = "nearest to "
BELONGS = {ERROR: "error", NEAREST: "nearest\ntraining image"}
WIDE = 2.6  # of words in the place of a dataset's pictures
ASIDE = 0.15  # between two datasets
APART = 0.04  # between two rows, beyond the pitch
Lines = dict[str, np.ndarray | str]


def plate(data: Collected, table: str, lines: Mapping[str, Lines], note: str) -> Figure:
    """lines: dataset -> its lines, pictures (h, w, 3) or words in their place. note: the small
    print.
    """
    labels = _ordered(lines.values())
    left = max((width(_label(row), LABEL) for row in labels), default=0) + 0.06
    abreast = min(max(len(lines), 1), ABREAST)
    widths = {name: _width(some) for name, some in lines.items()}
    # Each column is as wide as its widest dataset.
    columns = [max(list(widths.values())[at::abreast], default=WIDE) for at in range(abreast)]
    wide = left + sum(columns) + ASIDE * (abreast - 1)
    titles = [title(data.plan, name, widths[name], table) for name in lines]
    head = height(max((text.count("\n") for text in titles), default=0) + 1, TITLE) + 0.06
    middles = _middles(labels)
    block = head + max(middles.values(), default=0.0) + PITCH / 2 + ASIDE
    text = broken([note], wide)
    free = wide - left - EDGE
    key = errors.room(free) if any(row.startswith(ERROR) for row in labels) else 0.0
    tall = block * -(-len(lines) // abreast) - ASIDE + 0.06 + key + room_below(text)
    figure = Page(wide, tall).figure()
    small_print(figure, text)
    for index, name in enumerate(lines):
        down, right = divmod(index, abreast)
        corner = Corner(figure, left + sum(columns[:right]) + ASIDE * right, block * down)
        corner.write(0, head - 0.04, titles[index], TITLE, va="bottom")
        for row, middle in middles.items():
            if right == 0:
                place = {"ha": "right", "va": "center"}
                colour = GREY if belongs(row) else "black"
                corner.write(-0.05, head + middle, _label(row), LABEL, color=colour, **place)
            corner.put(head + middle, lines[name].get(row, ""), widths[name])
    if key:
        errors.key(figure, left, room_below(text), free)
    return figure


def belongs(line: str) -> str:
    """The label of a line that belongs to the one above it; nothing for a row's own."""
    return next((text for prefix, text in BELONGS.items() if line.startswith(prefix)), "")


def _ordered(lines: Iterable[Lines]) -> list[str]:
    """Every line's name, what belongs to a row after the row."""
    names = list(dict.fromkeys(row for some in lines for row in some))
    rows = [name for name in names if not belongs(name)]
    return [name for row in rows for name in (row, *(p + row for p in BELONGS)) if name in names]


def _middles(labels: list[str]) -> dict[str, float]:
    """Line -> its middle, inches below the heading; a row stands apart from the next."""
    found: dict[str, float] = {}
    top = 0.0
    for row in labels:
        top += APART if found and not belongs(row) else 0
        found[row] = top + PITCH / 2
        top += PITCH
    return found


def _width(lines: Lines) -> float:
    """Of a dataset's pictures, in inches; of words, as much as of large pictures."""
    pictures = [what for what in lines.values() if not isinstance(what, str)]
    return max((scale(what) * what.shape[1] / DPI for what in pictures), default=WIDE)


def _label(row: str) -> str:
    """In two lines where it is long."""
    return belongs(row) or row.replace(" (", "\n(").replace(" + ", "\n+ ").replace(" [", "\n[")
