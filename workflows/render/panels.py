"""The page of a figure: a panel for each dataset and quantity, titles above, small print below.

Everything is placed in inches, so that a figure is printed at its own size, with no text scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from workflows.render.lettering import height, width, wrap
from workflows.render.plan import Plan
from workflows.render.style import AXIS, DPI, GREY, LABEL, NOTE, SETTINGS, TICK, TITLE

# Of a column and of the full text width of a two-column paper.
SINGLE, DOUBLE = 3.4, 7.0
ABREAST = 2  # datasets beside each other; more go below
LEFT = 0.48  # tick and axis labels
GUTTER = 0.12  # between a panel and the labels at its right
BELOW = height(1, TICK) + height(1, AXIS) + 0.1  # tick labels and the axis' label
BETWEEN = 0.14  # two quantities of one dataset
EDGE = 0.03


@dataclass(frozen=True)
class Page:
    """wide, tall: of the paper. Inches."""

    wide: float
    tall: float

    def figure(self) -> Figure:
        """An empty one, a whole number of pixels large."""
        mpl.rcParams.update(SETTINGS)
        size = tuple(np.ceil(np.round(np.array([self.wide, self.tall]) * DPI, 6)) / DPI)
        figure = Figure(figsize=size, dpi=DPI)
        FigureCanvasAgg(figure)
        return figure


def page_width(datasets: int) -> float:
    """A column of a paper for one dataset, both for more."""
    return SINGLE if datasets <= 1 else DOUBLE


def title(plan: Plan, dataset: str, room: float, table: str | None = None) -> str:
    """A dataset's title in at most two lines, and below it what it stands in for, in a table."""
    real = plan.stands_for(dataset, table)
    instead = f"(stand-in for {plan.title_of(real)})" if real else ""
    whole = f"{plan.title_of(dataset)} {instead}".strip()
    if width(whole, TITLE) <= room:
        return whole
    parts = [wrap(plan.title_of(dataset), TITLE, room, lines=2)]
    return "\n".join(parts + ([wrap(instead, TITLE, room, lines=2)] if instead else []))


def small_print(figure: Figure, text: str) -> None:
    """Already wrapped, at the foot of the page."""
    wide, tall = figure.get_size_inches()
    figure.text(EDGE / wide, EDGE / tall, text, size=NOTE, color=GREY, va="bottom", linespacing=1.2)


def broken(notes: Sequence[str], wide: float) -> str:
    """The small print, a line or more for each note."""
    return "\n".join(wrap(note, NOTE, wide - 2 * EDGE) for note in notes)


def room_below(text: str) -> float:
    """What the small print takes of the page's height."""
    return height(text.count("\n") + 1, NOTE) + 2 * EDGE


def panels(
    plan: Plan,
    datasets: Sequence[str],
    labels: Sequence[str],
    notes: Sequence[str],
    tall: Sequence,
    table: str | None = None,
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, of shape (quantities, datasets).

    labels: what will stand at the right of panels. notes: the small print. tall: the height of a
    panel of each quantity. table: in which datasets stand for others, if it is one of those.
    """
    wide, abreast = page_width(len(datasets)), min(len(datasets), ABREAST)
    column = wide / max(abreast, 1)
    right = GUTTER + max((width(label, LABEL) for label in labels), default=0) + EDGE
    titles = [title(plan, name, column - LEFT - EDGE, table) for name in datasets]
    blocks = [titles[start : start + ABREAST] for start in range(0, len(titles), ABREAST)]
    heads = [height(max(text.count("\n") for text in some) + 1, TITLE) + 0.1 for some in blocks]
    body = sum(tall) + BETWEEN * (len(tall) - 1) + BELOW
    text = broken(notes, wide)
    figure = Page(wide, sum(heads) + body * len(blocks) + room_below(text)).figure()
    small_print(figure, text)
    size = figure.get_size_inches()
    axes = np.empty((len(tall), len(datasets)), dtype=object)
    for index, words in enumerate(titles):
        block, at = divmod(index, ABREAST)
        top = size[1] - sum(heads[: block + 1]) - body * block
        for line, high in enumerate(tall):
            top -= high
            box = np.array([column * at + LEFT, top, column - LEFT - right, high])
            ax = axes[line, index] = figure.add_axes(tuple(box / np.tile(size, 2)))
            ax.grid(axis="y")
            top -= BETWEEN
        figure.align_ylabels(axes[:, index])
        axes[0, index].set_title(words, loc="left", pad=4, linespacing=1.15)
    return figure, axes


def across(axes: np.ndarray, label: str) -> None:
    """Name a dataset's horizontal axis once, below its lowest panel."""
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    axes[-1].set_xlabel(label)
