"""What all figures share: sizes, fonts, the caption at the foot, and the look of each row."""

from __future__ import annotations

import textwrap
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# The widths of a column and of the full text of a two-column paper, in inches.
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


def page(width: float, height: float, caption: str = "") -> Figure:
    """Return an empty figure with a caption at its foot. Width and height are in inches."""
    mpl.rcParams.update(LOOK)
    figure = Figure((width, height), DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", size=NOTE, color=GREY)
    return figure


def encoded(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    """Return a figure as an SVG or PNG file, which has the same bytes each time."""
    stream = BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(stream, format=kind, dpi=dpi, metadata=metadata)
    return stream.getvalue()


def bare(ax: Axes) -> None:
    """Take ticks and frame off a panel that shows pictures."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def words(ax: Axes, message: str, height: float = 0.5) -> None:
    """Write a message where a panel has nothing to show, shortened to what fits into the panel.

    height: the fraction of the panel's height at which the message stands.
    """
    shown = textwrap.fill(textwrap.shorten(message, 66, placeholder=" …"), 33)
    text = ax.text(0, height, shown, color=GREY, va="center", transform=ax.transAxes, clip_on=True)
    text.set_in_layout(False)


class Style(NamedTuple):
    """The look of a row: colour, matplotlib line style, and marker of single values."""

    colour: str
    dash: Any
    marker: str


# The palette of Okabe and Ito, whose colours colour-blind readers can tell apart.
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
    """Return the look of a row. Rows that styles.yaml does not list share the look OTHER."""
    colour, dash, marker = STYLES.get(row, OTHER)
    return Style(COLOURS[colour], DASHES[dash], marker)
