"""Colours that a colour-blind reader can tell apart, one for each method, and type that prints."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl

mpl.use("Agg")

# Okabe and Ito's palette; a method keeps its colour in every figure.
COLOURS = {
    "VQ-VAE": "#000000",
    "VQ-VAE (l2)": "#000000",
    "VQ-VAE (cosine)": "#56B4E9",
    "VQ-VAE (moving average)": "#E69F00",
    "SQ-VAE": "#009E73",
    "CVQ-VAE": "#D55E00",
    "CVQ-VAE + contrastive": "#CC79A7",
}
OTHER = "#0072B2"
MARKERS = {"VQ-VAE": "o", "SQ-VAE": "s", "CVQ-VAE": "D"}
SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "codebook",
    "svg.fonttype": "path",
    "figure.constrained_layout.use": True,
}


def colour(method: str) -> str:
    """The colour of a method."""
    return COLOURS.get(method, OTHER)
