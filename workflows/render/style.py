"""How a method looks in every figure: a colour for the colour-blind, a line and a marker beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.colors import to_hex, to_rgb

# Points. Nothing in a figure is smaller than NOTE.
TITLE, AXIS, TICK, LABEL, NOTE = 7.5, 7.0, 6.5, 6.5, 6.0
DPI = 200
GREY, LEADER = "#444444", "#A0A0A0"
SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    # Comes with matplotlib, so that a figure is the same file on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": LABEL,
    "axes.titlesize": TITLE,
    "axes.labelsize": AXIS,
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": TICK,
    "ytick.labelsize": TICK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.size": 0,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "svg.hashsalt": "codebook",
    "svg.fonttype": "path",
}


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


def ink(colour: Any) -> str:
    """A colour darkened for text: light lines are visible, light letters are not."""
    red, green, blue = (0.7 * part for part in to_rgb(colour))
    return to_hex((red, green, blue))
