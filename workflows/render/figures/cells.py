"""One cell in pictures, for its page: how it trained, and which codes it uses."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from workflows.knobs import Training
from workflows.registry import codebook_size
from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, page, style
from workflows.render.figures.lines import USAGE, ranked

# Stage -> column of curves.csv -> what its axis says, and the factor of its unit.
CURVES = {
    1: {"reconstruction": ("reconstruction term", 1.0), **USAGE},
    2: {"loss": ("loss", 1.0), "FID": ("FID of a few samples", 1.0)},
}
OTHERS = "#B8B8B8"


def _page(left: float) -> Figure:
    """Without the layout engine of other figures: it draws everything twice, and a site has
    hundreds of these.
    """
    figure = page(DOUBLE, 1.6, layout=None)
    figure.subplots_adjust(left=left, right=0.99, bottom=0.24, top=0.95, wspace=0.3)
    return figure


def curves(data: Collected, cell: str, others: Sequence[str], row: str) -> Figure:
    """The records of a run over its steps, a panel for each of CURVES, none about codes for a model
    without a codebook.

    others: the runs of other seeds, drawn in grey behind. row: whose colour the run has.
    """
    figure = _page(0.06)
    about = data.plan.cells[cell]
    wanted = CURVES[about.stage]
    if isinstance(about.knobs, Training) and codebook_size(about.knobs) is None:
        wanted = {column: said for column, said in wanted.items() if column not in USAGE}
    panels = zip(figure.subplots(1, len(wanted), squeeze=False)[0], wanted.items(), strict=True)
    for ax, (column, (text, factor)) in panels:
        for name in (*others, cell):
            values = data.curves[data.curves["cell"] == name].dropna(subset=[column])
            colour = style(row).colour if name == cell else OTHERS
            width = 1.2 if name == cell else 0.8
            ax.plot(values["step"], values[column] * factor, color=colour, lw=width)
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
    hit = ranked(data.codes[data.codes["cell"].isin([cell, *others])]).query("value > 0")
    lines = {name: hit[hit["cell"] == name] for name in (cell, *others)}
    own = lines.pop(cell)
    colour = style(row).colour
    ax.fill_between(own["x"], own["value"], step="mid", color=colour, alpha=0.85, lw=0)
    for line in lines.values():
        ax.plot(line["x"], line["value"], color=OTHERS, lw=0.8)
    ax.axhline(1 / size, color=GREY, lw=0.7, ls=(0, (6, 3)))
    ax.set_yscale("log")
    # Plain numbers, few of them: powers and unlabelled ticks are most of the time it takes to draw.
    ax.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=min([1 / size, *own["value"]]) / 2)
    ax.set_xlim(0.5, size + 0.5)
    ax.set_xlabel(f"code by rank; {len(own)} of {size} in use, dashed: all alike")
    ax.set_ylabel("frequency")
    return figure
