"""Lines in panels: a column for each dataset, and in the column a panel for each quantity."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from workflows.render.captions import short
from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, SINGLE, Drawing, page, style, words

# A line has a marker at each value if no line of its dataset has more values than this.
MARKED = 8
# A narrow figure has its legend above its panel, which has room for this many rows.
ABOVE = 10
# Panels above each other -> height of a figure in inches.
HEIGHTS = {1: 2.6, 2: 3.3, 3: 4.4}
LINE_KEYS = ["dataset", "row", "quantity"]
# Dataset and quantity -> panel.
Panels = Mapping[tuple[str, str], Axes]


def cells_of(data: Collected, table: str) -> pd.DataFrame:
    """Return dataset, row, cell and diverged of every cell that a table shows."""
    lines = [
        (data.plan.cells[line.cell].dataset, line.row, line.cell, line.cell in data.diverged)
        for line in data.plan.lines_of(table)
    ]
    return pd.DataFrame(lines, columns=["dataset", "row", "cell", "diverged"])


def summarise(lines: pd.DataFrame) -> pd.DataFrame:
    """Return mean, lowest value, highest value and number of seeds at each x of each line.

    lines: dataset, row, quantity, diverged, x and value. Runs that diverged count only if all runs
    of the row diverged.
    """
    all_diverged = lines.groupby(LINE_KEYS)["diverged"].transform("all")
    kept = lines[~lines["diverged"] | all_diverged | lines["value"].isna()]
    values = kept.groupby([*LINE_KEYS, "x"], sort=False)["value"]
    return values.agg(mean="mean", low="min", high="max", seeds="count").reset_index()


def draw(
    data: Collected,
    table: str,
    summary: pd.DataFrame,
    cells: pd.DataFrame,
    labels: Mapping[str, str],
    x_label: str,
) -> tuple[Drawing, Panels]:
    """Draw a line for each row of a table, and a cross for each run that diverged.

    summary: as `summarise` returns it. cells: as `cells_of` returns them, with the place `x` that
    the cross of a diverged run has. labels: quantity -> label of its vertical axis.
    """
    all_datasets, diverged = data.plan.datasets_of(table), cells[cells["diverged"]]
    numbers = summary.dropna(subset=["mean"])
    measured = set(numbers["dataset"])
    # A dataset without numbers has panels only if no dataset has numbers.
    datasets = [name for name in all_datasets if name in measured] or all_datasets
    # The names of many rows take more room above the panels of one dataset than beside them.
    narrow = len(datasets) == 1 and numbers["row"].nunique() <= ABOVE
    figure = page(
        SINGLE if narrow else DOUBLE,
        HEIGHTS[len(labels)],
        _caption(data, table, summary, bool(len(diverged)), datasets),
    )
    axes = figure.subplots(len(labels), len(datasets), squeeze=False, sharex="col")
    panels = {}
    for column, dataset in zip(axes.T, datasets, strict=True):
        column[0].set_title(short(data.plan, dataset, table), loc="left")
        lines = summary[summary["dataset"] == dataset]
        if dataset not in measured:
            for ax in column:
                ax.set_axis_off()
            words(column[0], data.reason(table, dataset), 0.9)
            continue
        marked = lines.groupby(["row", "quantity"]).size().max() <= MARKED
        for ax, (quantity, label) in zip(column, labels.items(), strict=True):
            panels[dataset, quantity] = ax
            ax.grid(axis="y")
            ax.set_ylabel(label)
            for row, line in lines[lines["quantity"] == quantity].groupby("row", sort=False):
                _draw_line(ax, str(row), line.sort_values("x"), marked)
            _draw_crosses(ax, diverged[diverged["dataset"] == dataset])
        column[-1].set_xlabel(x_label)
    figure.align_ylabels(axes)
    legend(figure)
    if len(labels) == 1:
        numbers = numbers.drop(columns="quantity")
    return Drawing(figure, numbers), panels


def _caption(
    data: Collected, table: str, summary: pd.DataFrame, crosses: bool, datasets: Collection[str]
) -> str:
    """Name the budget, the seeds, and the datasets that have no panel."""
    seeds = int(summary["seeds"].max()) if len(summary) else 0
    means = f"mean of up to {seeds} seeds, band: lowest to highest"
    basis = means if seeds > 1 else "one seed"
    parts = [basis if seeds else "nothing is measured"]
    if crosses:
        parts.append("×: diverged")
    for name in data.plan.datasets_of(table):
        if name not in datasets:
            parts.append(f"{short(data.plan, name, table)}, {data.reason(table, name)}")
    return f"Budget {data.plan.budget}; {'; '.join(parts)}."


def _draw_line(ax: Axes, row: str, line: pd.DataFrame, marked: bool) -> None:
    """Draw the mean over a row's seeds, and a band from the lowest to the highest value."""
    look = style(row)
    (drawn,) = ax.plot(line["x"], line["mean"], color=look.colour, ls=look.dash, lw=1.1, label=row)
    if marked or len(line) == 1:
        # Marks at the ends of an axis are drawn whole.
        drawn.set(marker=look.marker, markersize=3.5, clip_on=False)
    if line["seeds"].max() > 1:
        ax.fill_between(line["x"], line["low"], line["high"], color=look.colour, alpha=0.18, lw=0)


def _draw_crosses(ax: Axes, diverged: pd.DataFrame) -> None:
    """Draw a cross at the foot of a panel for each row and each x where runs diverged."""
    places = diverged[["row", "x"]].drop_duplicates()
    for number, (row, x) in enumerate(places.itertuples(index=False)):
        height = 0.04 + 0.08 * (number % 5)
        (cross,) = ax.plot([x], [height], "x", color=style(row).colour, label=f"× {row}")
        cross.set(transform=ax.get_xaxis_transform(), clip_on=False, zorder=5)
        cross.set(markersize=4.5, markeredgewidth=1.2)


def legend(figure: Figure) -> None:
    """Name every line of a figure once, beside or above its panels."""
    entries: dict[str, Artist] = {}
    for ax in figure.axes:
        handles, names = ax.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    # A row that has a line needs no second entry for the cross of its diverged runs.
    for crossed in [f"× {name}" for name in entries]:
        entries.pop(crossed, None)
    if entries and figure.get_figwidth() == DOUBLE:
        figure.legend(list(entries.values()), list(entries), loc="outside right upper")
    elif entries:
        figure.legend(list(entries.values()), list(entries), loc="outside upper left", ncols=2)


def logarithmic(
    ax: Axes, direction: Literal["x", "y"], multiples: tuple[float, ...] = (1,)
) -> None:
    """Make an axis logarithmic, with plain numbers at these multiples of the powers of ten.

    Powers such as 10^2 and ticks without labels are hard to read and slow to draw.
    """
    ax.set(**{f"{direction}scale": "log"})
    axis = ax.xaxis if direction == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def reference(ax: Axes, level: float) -> None:
    """Draw a dashed line across a panel at a level to compare with."""
    ax.axhline(level, color=GREY, lw=0.7, ls=(0, (6, 3)))
