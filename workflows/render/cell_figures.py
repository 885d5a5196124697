"""One cell in pictures, for its page: how it trained, and which codes it uses."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from workflows.render.panels import DOUBLE, Page
from workflows.render.style import style

# Stage -> column of log.csv -> what its axis says, and the factor of its unit.
CURVES = {
    1: {
        "reconstruction": ("reconstruction term", 1.0),
        "usage": ("validation usage (%)", 100.0),
        "perplexity": ("validation perplexity", 1.0),
    },
    2: {"loss": ("loss", 1.0), "FID": ("FID of a few samples", 1.0)},
}
TALL = 1.6  # inches
OTHERS = "#B8B8B8"


def curves(log: pd.DataFrame, others: pd.DataFrame, row: str, stage: int = 1) -> Figure:
    """The records of a run over its steps, a panel for each of its stage's CURVES.

    log, others: of the schema `curves`, this cell's lines and those of its other seeds, drawn in
    grey behind. row: the name that a table gives the run, which decides its colour.
    """
    figure = Page(DOUBLE, TALL).figure()
    wanted = CURVES[stage]
    axes = figure.subplots(1, len(wanted))
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.24, top=0.95, wspace=0.3)
    for ax, (column, (text, factor)) in zip(axes, wanted.items(), strict=True):
        for _, other in others.groupby("cell"):
            known = other.dropna(subset=[column])
            ax.plot(known["step"], known[column] * factor, color=OTHERS, lw=0.8)
        known = log.dropna(subset=[column])
        ax.plot(known["step"], known[column] * factor, color=style(row).colour, lw=1.2)
        ax.set_xlabel("training step")
        ax.set_ylabel(text)
        ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        ax.grid(axis="y")
    return figure


def codes(counts: np.ndarray, others: list[np.ndarray], row: str) -> Figure:
    """The frequency of each code by rank, on a logarithmic axis; dead codes have no bar.

    counts: of the test split, shape (K,). others: the same of other seeds, as grey lines.
    """
    figure = Page(DOUBLE, TALL).figure()
    ax = figure.subplots()
    figure.subplots_adjust(left=0.08, right=0.99, bottom=0.24, top=0.95)
    size = len(counts)
    frequencies = _by_rank(counts)
    ax.fill_between(
        np.arange(size), frequencies, step="mid", color=style(row).colour, alpha=0.85, lw=0
    )
    for other in others:
        ax.plot(_by_rank(other), color=OTHERS, lw=0.8)
    ax.axhline(1 / size, color="#444444", lw=0.7, ls=(0, (6, 3)))
    ax.set_yscale("log")
    # Plain numbers, few of them: powers and unlabelled ticks are most of the time it takes to draw.
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=np.nanmin([1 / size, *frequencies]) / 2)
    ax.set_xlim(-0.5, size - 0.5)
    ax.set_xlabel(f"code by rank; {int((counts > 0).sum())} of {size} in use, dashed: all alike")
    ax.set_ylabel("frequency")
    return figure


def _by_rank(counts: np.ndarray) -> np.ndarray:
    """Frequencies from the highest down; NaN for codes that are not hit."""
    ranked = np.sort(counts)[::-1].astype(float)
    ranked[ranked == 0] = np.nan
    return ranked / counts.sum()
