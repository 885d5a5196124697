"""What all figures share: their size, their fonts, their one line of caption, and how a method
looks.

A method has a colour that the colour-blind can tell from the others, and a line and a marker beside
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Of a column and of the full text width of a two-column paper, in inches.
SINGLE, DOUBLE = 3.4, 7.0
DPI = 200
TITLE, NOTE = 7.5, 6.0  # points; nothing in a figure is smaller than NOTE
GREY = "#444444"
LOOK = Path(__file__).with_name("paper.mplstyle")


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
    mpl.style.use(LOOK)
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
    shown = said if len(said) < 60 else f"{said[:59]}…"
    text = ax.text(0, high, shown, color=GREY, va="center", transform=ax.transAxes, clip_on=True)
    text.set_in_layout(False)


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
AVERAGE = Style(ORANGE, DASHED, "^")
STOCHASTIC = Style(GREEN, MIXED, "s")
RESIDUAL = Style(BLUE, LONG, ">")
MODULATED = Style(PURPLE, DOTTED, "p")
CLUSTERED = Style(VERMILION, "-", "D")
CONTRASTIVE = Style(PURPLE, LONG, "P")
NEAR = Style(BLUE, DASHED, "<")
HARD = Style(GREEN, DOTTED, ">")
STYLES = {
    "VQ-VAE": L2,
    "VQ-VAE (l2)": L2,
    "VQ-VAE (cosine)": COSINE,
    "VQ-VAE (moving average)": AVERAGE,
    "SQ-VAE": STOCHASTIC,
    "RQ-VAE": RESIDUAL,
    "MoVQ": MODULATED,
    "CVQ-VAE": CLUSTERED,
    "CVQ-VAE + contrastive": CONTRASTIVE,
    "near codevectors": NEAR,
    "hard encoded features": HARD,
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
    # By the names of the registry, where a figure shows whole methods.
    "vq_vae": L2,
    "vq_vae_ema": AVERAGE,
    "sq_vae": STOCHASTIC,
    "cvq_vae": CLUSTERED,
    "rq_vae": RESIDUAL,
    "movq": MODULATED,
    "near_codevectors": NEAR,
    "hard_features": HARD,
}
# By anchors: a colour each; offline is dotted with a light marker, online is solid.
ANCHORS = {"random": SKY, "unique": ORANGE, "probability": VERMILION, "closest": BLUE}
STYLES |= {f"{name}, offline": Style(colour, DOTTED, "d") for name, colour in ANCHORS.items()}
STYLES |= {f"{name}, online": Style(colour, "-", "D") for name, colour in ANCHORS.items()}
OTHER = Style(BLUE, MIXED, "X")


def style(method: str) -> Style:
    """The look of a method, or the one that all unknown methods share."""
    return STYLES.get(method, OTHER)
