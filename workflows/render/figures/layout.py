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


def title(plan: Plan, dataset: str, table: str) -> str:
    """A dataset's title and what it stands in for, in lines that half a page holds."""
    return textwrap.fill(plan.dataset_title(dataset, table), 42)


def bare(ax: Axes) -> None:
    """A panel without ticks and frame, for pictures."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


@dataclass(frozen=True)
class Style:
    """colour: of lines and marks. dash: a matplotlib line style. marker: of single values."""

    colour: str
    dash: Any
    marker: str


LONG, DASHED = (0, (9, 1.5)), (0, (4, 1.5))
MIXED, DOTTED = (0, (5, 1, 1, 1)), (0, (1, 1.2))
# Okabe and Ito's palette.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
# A run that several tables show under different names keeps its look, and a diffusion model has the
# look of its first stage.
L2 = Style(BLACK, DASHED, "o")
COSINE = Style(SKY, DOTTED, "v")
STOCHASTIC = Style(GREEN, MIXED, "s")
RESIDUAL = Style(BLUE, LONG, ">")
MODULATED = Style(PURPLE, DOTTED, "p")
CLUSTERED = Style(VERMILION, "-", "D")
CONTRASTIVE = Style(PURPLE, LONG, "P")
STYLES = {
    "VQ-VAE": L2,
    "VQ-VAE (l2)": L2,
    "VQ-VAE (cosine)": COSINE,
    "VQ-VAE (moving average)": Style(ORANGE, DASHED, "^"),
    "SQ-VAE": STOCHASTIC,
    "RQ-VAE": RESIDUAL,
    "MoVQ": MODULATED,
    "CVQ-VAE": CLUSTERED,
    "CVQ-VAE + contrastive": CONTRASTIVE,
    "near codevectors": Style(BLUE, DASHED, "<"),
    "hard encoded features": Style(GREEN, DOTTED, ">"),
    "running average": CLUSTERED,
    "no reinitialisation": COSINE,
    "offline": Style(VERMILION, DOTTED, "d"),
    "online": CLUSTERED,
    "online + contrastive": CONTRASTIVE,
    "VQ-VAE-LDM": L2,
    "CVQ-VAE-LDM": CLUSTERED,
    "SQ-VAE-LDM": STOCHASTIC,
    "RQ-VAE-LDM": RESIDUAL,
    "MoVQ-LDM": MODULATED,
    "DDPM (trained here)": Style(SKY, LONG, "^"),
}
# By anchors: a colour each; offline is dotted with a light marker, online is solid.
ANCHORS = {"random": SKY, "unique": ORANGE, "probability": VERMILION, "closest": BLUE}
STYLES |= {f"{name}, offline": Style(colour, DOTTED, "d") for name, colour in ANCHORS.items()}
STYLES |= {f"{name}, online": Style(colour, "-", "D") for name, colour in ANCHORS.items()}
OTHER = Style(BLUE, MIXED, "X")


def style(method: str) -> Style:
    """The look of a method, or the one that all unknown methods share."""
    return STYLES.get(method, OTHER)
