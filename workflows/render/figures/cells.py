"""One cell in pictures, for its page: how it trained, and which codes it uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, page, style
from workflows.render.figures.lines import USAGE, of_codes, of_curves

# Stage -> column of log.csv -> what its axis says, and the factor of its unit.
CURVES = {
    1: {"reconstruction": ("reconstruction term", 1.0), **USAGE},
    2: {"loss": ("loss", 1.0), "FID": ("FID of a few samples", 1.0)},
}
TALL = 1.6  # inches
OTHERS = "#B8B8B8"


def _page(left: float) -> Figure:
    """Without the layout engine of other figures: it draws everything twice, and a site has
    hundreds of these.
    """
    figure = page(DOUBLE, TALL, layout=None)
    figure.subplots_adjust(left=left, right=0.99, bottom=0.24, top=0.95, wspace=0.3)
    return figure


def curves(data: Collected, cell: str, others: Sequence[str], row: str) -> Figure:
    """The records of a run over its steps, a panel for each of its stage's CURVES.

    others: the runs of other seeds, drawn in grey behind. row: the name that a table gives the run,
    which decides its colour.
    """
    figure = _page(0.06)
    wanted = CURVES[data.plan.cells[cell].stage]
    for ax, (column, (text, factor)) in zip(
        figure.subplots(1, len(wanted)), wanted.items(), strict=True
    ):
        for name in (*others, cell):
            values = of_curves(data.curves, [name], "step", column) * factor
            colour = style(row).colour if name == cell else OTHERS
            ax.plot(values.index, values, color=colour, lw=1.2 if name == cell else 0.8)
        ax.set(xlabel="training step", ylabel=text)
        ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        ax.grid(axis="y")
    return figure


def codes(data: Collected, cell: str, others: Sequence[str], row: str) -> Figure:
    """The frequency of each code by rank, on a logarithmic axis; dead codes have no bar.

    others: the runs of other seeds, as grey lines.
    """
    figure = _page(0.08)
    ax = figure.subplots()
    size = int((data.codes["cell"] == cell).sum())
    values = of_codes(data.codes, [cell])
    ranks, frequencies = values.index, values.to_numpy().ravel()
    ax.fill_between(ranks, frequencies, step="mid", color=style(row).colour, alpha=0.85, lw=0)
    for name in others:
        ax.plot(of_codes(data.codes, [name]), color=OTHERS, lw=0.8)
    ax.axhline(1 / size, color=GREY, lw=0.7, ls=(0, (6, 3)))
    ax.set_yscale("log")
    # Plain numbers, few of them: powers and unlabelled ticks are most of the time it takes to draw.
    ax.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=np.min([1 / size, *frequencies]) / 2)
    ax.set_xlim(0.5, size + 0.5)
    ax.set_xlabel(f"code by rank; {len(values)} of {size} in use, dashed: all alike")
    ax.set_ylabel("frequency")
    return figure
