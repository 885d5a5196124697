"""Figures of a single cell for its page: the course of its training, and the codes that it uses."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from workflows.knobs import Training
from workflows.registry import codebook_size
from workflows.render.collected import Collected
from workflows.render.figures import panels
from workflows.render.figures.layout import DOUBLE, page, style
from workflows.render.figures.lines import USAGE, ranked

# Stage -> columns of curves.csv, and the labels of their panels.
CURVES: dict[int, dict[str, str]] = {
    1: {"reconstruction": "reconstruction term", **USAGE},
    2: {"loss": "loss", "FID": "FID of a few samples"},
}
OTHER_SEEDS = "#B8B8B8"


def _page(left: float) -> Figure:
    """Return a page with fixed margins. A constrained layout draws everything twice, and a site
    has hundreds of these figures.
    """
    figure = page(DOUBLE, 1.6)
    figure.set_layout_engine(None)
    figure.subplots_adjust(left=left, right=0.99, bottom=0.24, top=0.95, wspace=0.3)
    return figure


def curves(data: Collected, cell: str, others: Sequence[str], row: str) -> Figure:
    """Draw the records of a run over its steps, a panel for each of CURVES.

    A model without a codebook has no panels of usage and perplexity. others: the runs of other
    seeds, drawn in grey behind. row: the row whose colour the run has.
    """
    figure = _page(0.06)
    planned = data.plan.cells[cell]
    columns = CURVES[planned.stage]
    if isinstance(planned.knobs, Training) and codebook_size(planned.knobs) is None:
        columns = {name: columns[name] for name in columns if name not in USAGE}
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        factor = 100 if column == "usage" else 1
        for name in (*others, cell):
            values = data.curves[data.curves["cell"] == name].dropna(subset=[column])
            colour, width = (style(row).colour, 1.2) if name == cell else (OTHER_SEEDS, 0.8)
            ax.plot(values["step"], factor * values[column], color=colour, lw=width)
        ax.set(xlabel="training step", ylabel=label)
        ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        ax.grid(axis="y")
    return figure


def codes(data: Collected, cell: str, others: Sequence[str], row: str) -> Figure:
    """Draw the frequency of each code by rank, on a logarithmic axis; dead codes have no bar.

    others: the runs of other seeds, as grey lines. row: the row whose colour the run has.
    """
    figure = _page(0.08)
    ax = figure.subplots()
    size = int((data.codes["cell"] == cell).sum())
    hit = ranked(data.codes[data.codes["cell"].isin([cell, *others])]).query("value > 0")
    bars = hit[hit["cell"] == cell]
    colour = style(row).colour
    ax.fill_between(bars["x"], bars["value"], step="mid", color=colour, alpha=0.85, lw=0)
    for name in others:
        line = hit[hit["cell"] == name]
        ax.plot(line["x"], line["value"], color=OTHER_SEEDS, lw=0.8)
    panels.reference(ax, 1 / size)
    panels.logarithmic(ax, "y")
    ax.set_ylim(bottom=min([1 / size, *bars["value"]]) / 2)
    ax.set_xlim(0.5, size + 0.5)
    ax.set_xlabel(f"code by rank; {len(bars)} of {size} in use, dashed: all codes equally frequent")
    ax.set_ylabel("frequency")
    return figure
