"""What all figures share: their size, small print and fonts, and how a method looks.

A method has a colour that the colour-blind can tell from the others, and a line and a marker beside
it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from workflows.config.plan import Plan

# Of a column and of the full text width of a two-column paper, in inches.
SINGLE, DOUBLE = 3.4, 7.0
# Points. Nothing in a figure is smaller than NOTE.
TITLE, AXIS, LABEL, NOTE = 7.5, 7.0, 6.5, 6.0
LINE = NOTE * 1.2 / 72  # inches of a line of small print
LETTERS = 22  # of small print that fit an inch
DPI = 200
GREY = "#444444"
SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    # Comes with matplotlib, so that a figure is the same file on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": LABEL,
    "axes.titlesize": TITLE,
    "axes.labelsize": AXIS,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": LABEL,
    "ytick.labelsize": LABEL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": LABEL,
    # A dollar in a name or message is a dollar and begins no formula.
    "text.parse_math": False,
    "svg.hashsalt": "codebook",
    "svg.fonttype": "path",
}


def page(
    wide: float,
    tall: float,
    notes: Sequence[str] = (),
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """An empty figure with small print at its foot. wide, tall: inches, without the small print."""
    mpl.rcParams.update(SETTINGS)
    text = "\n".join(textwrap.fill(note, int(wide * LETTERS)) for note in notes)
    lines = text.count("\n") + 1 if text else 0
    figure = Figure((wide, tall + lines * LINE), DPI, layout=layout)
    FigureCanvasAgg(figure)
    if text:
        figure.supxlabel(text, x=0.01, ha="left", size=NOTE, color=GREY, linespacing=1.2)
    return figure


def panels(
    plan: Plan, datasets: Sequence[str], table: str, heights: Sequence[float], notes: Sequence[str]
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (quantities, datasets), titled with what a dataset stands in for.

    heights: inches of a panel of each quantity. notes: the small print.
    """
    wide = SINGLE if len(datasets) <= 1 else DOUBLE
    figure = page(wide, sum(heights) + 0.6, notes)
    axes = figure.subplots(
        len(heights), max(len(datasets), 1), squeeze=False, height_ratios=list(heights)
    )
    for ax in axes.flat:
        ax.grid(axis="y")
    for ax, dataset in zip(axes[0], datasets, strict=False):
        ax.set_title(title(plan, dataset, table), loc="left")
    figure.align_ylabels(axes)
    return figure, axes


def title(plan: Plan, dataset: str, table: str) -> str:
    """A dataset's title and what it stands in for, in lines that half a page holds."""
    return textwrap.fill(plan.dataset_title(dataset, table), 42)


def empty(axes: np.ndarray, reason: str) -> None:
    """A dataset's panels without lines; the first says why."""
    for ax in axes:
        ax.set_axis_off()
    words = textwrap.fill(reason, 44)
    # Long reasons are cut by the panel, so that they do not push the other panels aside.
    text = axes[0].text(
        0, 1, words, transform=axes[0].transAxes, color=GREY, va="top", clip_on=True
    )
    text.set_in_layout(False)


def line(ax: Axes, values: pd.DataFrame, method: str, label: str, mark: bool = False) -> None:
    """A method's mean over seeds, and from the lowest to the highest as a band.

    values: a line for each x, a column for each seed. mark: whether every value has a marker.
    """
    if values.empty:
        return
    look = style(method)
    marker = look.marker if mark or len(values) == 1 else ""
    mean = values.mean(axis=1)
    ax.plot(
        values.index, mean, color=look.colour, ls=look.dash, lw=1.1, marker=marker, ms=3.5,
        label=label,
    )  # fmt: skip
    if values.shape[1] > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        ax.fill_between(values.index, low, high, color=look.colour, alpha=0.18, lw=0)


def failed(ax: Axes, places: Sequence[float], method: str, label: str) -> None:
    """A cross at the foot of the panel, above those of others, for each x that has no number."""
    for x in dict.fromkeys(places):
        crosses = [drawn for drawn in ax.lines if drawn.get_marker() == "x"]
        below = sum(np.asarray(cross.get_xdata())[0] == x for cross in crosses)
        ax.plot(
            [x], [0.04 + 0.08 * below], "x", ms=4.5, mew=1.2, color=style(method).colour,
            transform=ax.get_xaxis_transform(), clip_on=False, zorder=5, label=label,
        )  # fmt: skip
        label = "_"


def legend(ax: Axes) -> None:
    """The names of the lines, beside the panel."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), handlelength=1.6, borderpad=0.1)


@dataclass(frozen=True)
class Style:
    """colour: of lines and marks. dash: a matplotlib line style. marker: of single values."""

    colour: str
    dash: Any
    marker: str


DASHES: dict[str, Any] = {
    "solid": "-",
    "long": (0, (9, 1.5)),
    "dashed": (0, (4, 1.5)),
    "mixed": (0, (5, 1, 1, 1)),
    "dotted": (0, (1, 1.2)),
}
# Okabe and Ito's palette.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
# A run that several tables show under different names keeps its look.
L2 = Style(BLACK, DASHES["dashed"], "o")
COSINE = Style(SKY, DASHES["dotted"], "v")
CLUSTERED = Style(VERMILION, DASHES["solid"], "D")
CONTRASTIVE = Style(PURPLE, DASHES["long"], "P")
STYLES = {
    "VQ-VAE": L2,
    "VQ-VAE (l2)": L2,
    "VQ-VAE (cosine)": COSINE,
    "VQ-VAE (moving average)": Style(ORANGE, DASHES["dashed"], "^"),
    "SQ-VAE": Style(GREEN, DASHES["mixed"], "s"),
    "CVQ-VAE": CLUSTERED,
    "CVQ-VAE + contrastive": CONTRASTIVE,
    "near codevectors": Style(BLUE, DASHES["dashed"], "<"),
    "hard encoded features": Style(GREEN, DASHES["dotted"], ">"),
    "running average": CLUSTERED,
    "no reinitialisation": COSINE,
    "offline": Style(VERMILION, DASHES["dotted"], "d"),
    "online": CLUSTERED,
    "online + contrastive": CONTRASTIVE,
}
# By anchors: a colour each; offline is dotted with a light marker, online is solid.
for _anchors, _colour in {
    "random": SKY,
    "unique": ORANGE,
    "probability": VERMILION,
    "closest": BLUE,
}.items():
    STYLES[f"{_anchors}, offline"] = Style(_colour, DASHES["dotted"], "d")
    STYLES[f"{_anchors}, online"] = Style(_colour, DASHES["solid"], "D")
STYLES["RQ-VAE"] = Style(BLUE, DASHES["long"], ">")
STYLES["MoVQ"] = Style(PURPLE, DASHES["dotted"], "p")
# Diffusion models have the look of their first stages.
STYLES["VQ-VAE-LDM"] = L2
STYLES["CVQ-VAE-LDM"] = CLUSTERED
for _row in ("SQ-VAE", "RQ-VAE", "MoVQ"):
    STYLES[f"{_row}-LDM"] = STYLES[_row]
STYLES["DDPM (trained here)"] = Style(SKY, DASHES["long"], "^")
OTHER = Style(BLUE, DASHES["mixed"], "X")


def style(method: str) -> Style:
    """The look of a method, or the one that all unknown methods share."""
    return STYLES.get(method, OTHER)
