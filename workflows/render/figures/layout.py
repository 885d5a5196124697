"""What all figures share: their size, fonts and line of caption, and how a method looks.

A method has a colour that the colour-blind can tell from the others, a line and a marker.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Of a column and of the full text width of a two-column paper, in inches.
SINGLE, DOUBLE = 3.4, 7.0
DPI = 200
TITLE, NOTE = 7.5, 6.0  # points; nothing in a figure is smaller than NOTE
GREY = "#444444"
LOOK = mpl.rc_params_from_file(
    Path(__file__).with_name("paper.mplstyle"), use_default_template=False
)


class Drawing(NamedTuple):
    """A figure, and the numbers that it shows."""

    figure: Figure
    numbers: pd.DataFrame


def page(
    wide: float,
    tall: float,
    caption: str = "",
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """An empty figure with a line of caption at its foot. wide, tall: inches."""
    mpl.rcParams.update(LOOK)
    figure = Figure((wide, tall), DPI, layout=layout)
    FigureCanvasAgg(figure)
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", size=NOTE, color=GREY)
    return figure


def bare(ax: Axes) -> None:
    """A panel without ticks and frame, for pictures."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def words(ax: Axes, said: str, high: float = 0.5) -> None:
    """Words in place of what a panel would show, cut to what a panel holds."""
    shown = textwrap.fill(textwrap.shorten(said, 66, placeholder=" …"), 33)
    text = ax.text(0, high, shown, color=GREY, va="center", transform=ax.transAxes, clip_on=True)
    text.set_in_layout(False)


class Style(NamedTuple):
    """colour: of lines and marks. dash: a matplotlib line style. marker: of single values."""

    colour: str
    dash: Any
    marker: str


# Okabe and Ito's palette.
COLOURS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "long": (0, (9, 1.5)),
    "dashed": (0, (4, 1.5)),
    "mixed": (0, (5, 1, 1, 1)),
    "dotted": (0, (1, 1.2)),
}
OTHER = ("blue", "mixed", "X")
STYLES = yaml.safe_load(Path(__file__).with_name("styles.yaml").read_text(encoding="utf-8"))


def style(row: str) -> Style:
    """The look of a row, or the one that all unknown rows share."""
    colour, dash, marker = STYLES.get(row, OTHER)
    return Style(COLOURS[colour], DASHES[dash], marker)
