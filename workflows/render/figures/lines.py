"""Figures of lines and points: trainings, frequencies of codes, metrics against a knob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from workflows import registry
from workflows.render.captions import method_title, short
from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, SINGLE, Drawing, page, style, words
from workflows.render.numbers import heading

METHODS = "methods"
# Column of curves.csv -> what an axis says, and the factor of its unit.
USAGE = {"usage": ("validation usage (%)", 100.0), "perplexity": ("validation perplexity", 1.0)}
LARGEST = 15.0  # points: the diameter of the largest mark of a sweep
# Lines of at most so many values have a marker for each.
MARKED = 8
LEGEND_LINE = 0.14  # inches
LINE = ["dataset", "row", "quantity"]
# Dataset and quantity -> panel.
Panels = Mapping[tuple[str, str], Axes]


def training_curves(data: Collected) -> Drawing:
    """Usage and perplexity of the validation images in the course of training."""
    drawing, panels = in_training(data, cells_of(data, METHODS), USAGE)
    for ax in panels.values():
        ax.set_ylim(bottom=0)
    return drawing


def in_training(
    data: Collected, cells: pd.DataFrame, columns: Mapping[str, tuple[str, float]]
) -> tuple[Drawing, Panels]:
    """Columns of curves.csv, as USAGE has them, in the course of the training of these cells of the
    table of methods.
    """
    curves = cells.merge(data.curves, on="cell")
    # Below two whole epochs, steps tell more.
    x = "epoch" if curves.groupby("dataset")["epoch"].max().min() >= 2 else "step"
    scaled = {name: curves[name] * factor for name, (_, factor) in columns.items()}
    curves = curves.assign(x=curves[x], **scaled)
    lines = curves.melt(["dataset", "row", "diverged", "x"], list(columns), "quantity")
    # A training that diverged has a cross where it broke off.
    last = cells["cell"].map(curves.groupby("cell")["x"].max()).fillna(0)
    labels = {name: label for name, (label, _) in columns.items()}
    label = "training step" if x == "step" else x
    drawing, panels = _sheet(data, METHODS, _shared(lines), cells.assign(x=last), labels, label)
    for ax in panels.values():
        _counted(ax)
    return drawing, panels


def progress(data: Collected, table: str) -> Drawing:
    """The Fréchet distance of a few samples in the course of training, from decoded noise on."""
    cells = cells_of(data, table)
    curves = cells.merge(data.curves, on="cell")
    lines = curves.assign(quantity="FID", x=curves["epoch"], value=curves["FID"])
    labels = {"FID": f"FID (N = {data.plan.progress_samples:,})"}
    drawing, panels = _sheet(data, table, _shared(lines), cells.assign(x=0), labels, "epoch")
    for ax in panels.values():
        # Noise is so far off that what models differ by would be within the width of a line.
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        _counted(ax)
    return drawing


def code_histograms(data: Collected) -> Drawing:
    """How often each code is hit on the test split, most frequent first, out of all K."""
    cells = cells_of(data, METHODS)
    models = [data.plan.knobs(cell) for cell in cells["cell"]]
    size = max(registry.codebook_size(knobs) or 1 for knobs in models)  # type: ignore[arg-type]
    counted = cells[~cells["diverged"]].merge(ranked(data.codes), on="cell")
    found = _summary(counted.assign(quantity="frequency")).query("mean > 0")
    labels, label = {"frequency": "frequency"}, "code, most frequent first"
    drawing, panels = _sheet(data, METHODS, found, cells.assign(x=size), labels, label)
    for ax in panels.values():
        ax.axhline(1 / size, color=GREY, ls=(0, (6, 3)), lw=0.7)
        ax.text(1, 1 / size, f"uniform: 1/{size}", color=GREY, va="bottom")
        _doubling(ax, {size // 8**n for n in range(4)} - {0} | {1})
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.minorticks_off()
    return drawing


def dimensionality(data: Collected) -> Drawing:
    """rFID against the code dimension; a mark's area is proportional to the dimension."""
    table, label = "code_dimension", "code dimension D (a mark's area grows with D)"
    cells = swept(data, table, "code_dim")
    drawing, panels = sweep(data, table, cells, ["rFID"], label)
    for (dataset, row), line in drawing.numbers.groupby(["dataset", "row"], sort=False):
        areas = LARGEST**2 * line["x"] / drawing.numbers["x"].max()
        ax, colour = panels[str(dataset), "rFID"], style(str(row)).colour
        ax.scatter(line["x"], line["mean"], areas, colour, alpha=0.55, lw=0.4, ec="white")
    return drawing


def codebook_size(data: Collected) -> Drawing:
    """rFID and usage of the codebook against its size K."""
    table = "codebook_size"
    cells = swept(data, table, "codebook_size")
    drawing, panels = sweep(data, table, cells, ["rFID", "usage"], "codebook size K")
    for (_, metric), ax in panels.items():
        if metric == "usage":
            ax.set_ylim(bottom=0)
    return drawing


def sweep(
    data: Collected, table: str, cells: pd.DataFrame, metrics: Iterable[str], label: str
) -> tuple[Drawing, Panels]:
    """Metrics against `x`, by the protocol of the published numbers if it was measured.

    cells: of `cells_of`, with `x`. The row of a sweep, such as `VQ-VAE, D = 4`, begins with the
    method that a line is of. label: of the horizontal axis.
    """
    cells = cells.assign(row=cells["row"].str.split(",").str[0])
    measured = data.numbers(table)
    labels, parts = {}, []
    for metric in metrics:
        values = measured[measured["metric"] == metric]
        known = values.set_index("cell")["value"] * (100 if metric == "usage" else 1)
        # What has no number is NaN, where a line breaks.
        parts.append(cells.assign(quantity=metric, value=cells["cell"].map(known)))
        labels[metric] = heading(metric, set(values["images"].dropna().astype(int)))
    drawing, panels = _sheet(data, table, _summary(pd.concat(parts)), cells, labels, label)
    for ax in panels.values():
        _doubling(ax, cells["x"])
        ax.margins(0.12)
    return drawing, panels


def swept(data: Collected, table: str, knob: str) -> pd.DataFrame:
    """The table's cells, as of `cells_of`, with a knob's value as `x`."""
    cells = cells_of(data, table)
    return cells.assign(x=[getattr(data.plan.knobs(cell), knob) for cell in cells["cell"]])


def usage_quality(data: Collected) -> Drawing:
    """rFID against usage, a point for each autoencoder of the budget."""
    return _points(data, "usage", "rFID", "usage (%)")


def seconds_quality(data: Collected) -> Drawing:
    """PSNR against the minutes of training, a point for each autoencoder of the budget."""
    return _by_minutes(data, "PSNR")


def seconds_samples(data: Collected) -> Drawing:
    """FID against the minutes of training, a point for each generative model of the budget."""
    return _by_minutes(data, "FID", "row")


def _by_minutes(data: Collected, metric: str, by: str = "method") -> Drawing:
    drawing = _points(data, "minutes", metric, "minutes of training", by)
    for ax in drawing.figure.axes if len(drawing.numbers) else ():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
    return drawing


def _points(data: Collected, x: str, y: str, label: str, by: str = "method") -> Drawing:
    """A panel for each dataset, a point for each cell, a colour for each method.

    x: "usage" or "minutes". y: a metric. label: of the horizontal axis. by: "method" of
    autoencoders, or "row" of generative models, whose method does not name their first stage.
    """
    measured = data.numbers(stage=1 if by == "method" else 2).drop_duplicates(["cell", "metric"])
    usage = measured[measured["metric"] == "usage"].set_index("cell")["value"]
    points = measured[measured["metric"] == y].assign(
        **{y: lambda lines: lines["value"].astype(float)},
        method=lambda lines: lines["cell"].str.split("/").str[1],
        usage=lambda lines: 100 * lines["cell"].map(usage),
        minutes=lambda lines: lines["seconds"] / 60,
    )
    points = points[np.isfinite(points[y]) & points[x].notna()]
    datasets = dict.fromkeys(cell.dataset for cell in data.plan.cells.values())
    names = [name for name in datasets if (points["dataset"] == name).any()]
    # The legend beside the panels has a line for each method.
    tall = max(2.3, 0.3 + LEGEND_LINE * points[by].nunique())
    figure = page(DOUBLE, tall, f"Budget {data.plan.budget}; a point for each trained model.")
    axes = figure.subplots(1, max(len(names), 1), squeeze=False)[0]
    if not names:
        words(axes[0], "nothing is measured")
    for ax, name in zip(axes, names, strict=False):
        here = points[points["dataset"] == name]
        # There may be so many panels that a name is wider than its own.
        ax.set_title(short(data.plan, name).replace(" stand-in", "\nstand-in"), loc="left")
        for name_of, of in here.groupby(by):
            title = method_title(str(name_of)) if by == "method" else str(name_of)
            colour, _, marker = style(title)
            ax.plot(of[x], of[y], marker, color=colour, ms=3.5, alpha=0.75, label=title)
        ax.set(xlabel=label, ylabel=heading(y, set(here["images"].dropna().astype(int))))
        ax.grid()
    _legend(figure)
    return Drawing(figure, points[["dataset", by, "cell", x, y]])


def cells_of(data: Collected, table: str) -> pd.DataFrame:
    """dataset, row, cell, diverged of a table's cells; a line each."""
    lines = [
        (data.plan.cells[line.cell].dataset, line.row, line.cell, line.cell in data.diverged)
        for line in data.plan.lines_of(table)
    ]
    return pd.DataFrame(lines, columns=["dataset", "row", "cell", "diverged"])


def ranked(codes: pd.DataFrame) -> pd.DataFrame:
    """cell, x, value: the frequencies of a cell's codes by rank from 1; 0 for codes never hit."""
    falling = codes.sort_values("count", ascending=False, kind="stable")
    counts = falling.groupby("cell", sort=False)["count"]
    shares = falling["count"] / counts.transform("sum")
    return falling.assign(x=counts.cumcount() + 1, value=shares)[["cell", "x", "value"]]


def _summary(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean, lowest and highest over seeds at each x, and how many there are.

    Curves of runs that diverged are shown where a row has no others.
    """
    others = ~lines.groupby(LINE)["diverged"].transform("all")
    kept = lines[~(lines["diverged"] & others & lines["value"].notna())]
    values = kept.groupby([*LINE, "x"], sort=False)["value"]
    return values.agg(mean="mean", low="min", high="max", seeds="count").reset_index()


def _shared(lines: pd.DataFrame) -> pd.DataFrame:
    """The summary at the points of a training that every seed has recorded."""
    found = _summary(lines.dropna(subset=["value"]))
    return found[found["seeds"] == found.groupby(LINE)["seeds"].transform("max")]


def _sheet(
    data: Collected,
    table: str,
    found: pd.DataFrame,
    cells: pd.DataFrame,
    labels: Mapping[str, str],
    label: str,
) -> tuple[Drawing, Panels]:
    """A column of panels for each dataset, one for each quantity.

    found: of `_summary`. cells: of `cells_of`, and in `x` where a run that diverged has its cross.
    labels: quantity -> what its axis says. label: what the horizontal axis says.
    """
    every, diverged = data.plan.datasets_of(table), cells[cells["diverged"]]
    measured = set(found.dropna(subset=["mean"])["dataset"])
    # A dataset without numbers has a panel only where no other has any.
    datasets = [name for name in every if name in measured] or every
    left_out = [
        f"; {short(data.plan, name, table)}, {data.reason(table, name)}"
        for name in every
        if name not in datasets
    ]
    seeds = int(found["seeds"].max()) if len(found) else 0
    over = f"mean of {seeds} seeds, band: lowest to highest" if seeds > 1 else "one seed"
    crosses = "; ×: diverged" if len(diverged) else ""
    seen = over if seeds else "nothing is measured"
    caption = f"Budget {data.plan.budget}; {seen}{crosses}{''.join(left_out)}."
    wide, tall = SINGLE if len(datasets) == 1 else DOUBLE, 1.9 if len(labels) == 1 else 2.6
    figure = page(wide, tall + 0.7, caption)
    axes = figure.subplots(len(labels), len(datasets), squeeze=False, sharex="col")
    panels = {}
    for column, dataset in zip(axes.T, datasets, strict=True):
        column[0].set_title(short(data.plan, dataset, table), loc="left")
        here = found[found["dataset"] == dataset]
        if dataset not in measured:
            for ax in column:
                ax.set_axis_off()
            words(column[0], data.reason(table, dataset), 0.9)
            continue
        marked = here.groupby(["row", "quantity"]).size().max() <= MARKED
        for ax, (quantity, title) in zip(column, labels.items(), strict=True):
            panels[dataset, quantity] = ax
            ax.grid(axis="y")
            ax.set_ylabel(title)
            for row, line in here[here["quantity"] == quantity].groupby("row", sort=False):
                _draw(ax, str(row), line.sort_values("x"), marked)
            _crosses(ax, diverged[diverged["dataset"] == dataset])
        column[-1].set_xlabel(label)
    figure.align_ylabels(axes)
    _legend(figure)
    numbers = found.drop(columns="quantity") if len(labels) == 1 else found
    return Drawing(figure, numbers.dropna(subset=["mean"])), panels


def _draw(ax: Axes, row: str, line: pd.DataFrame, marked: bool) -> None:
    """A row's mean over seeds, and a band from the lowest to the highest."""
    look = style(row)
    (drawn,) = ax.plot(line["x"], line["mean"], color=look.colour, ls=look.dash, lw=1.1, label=row)
    if marked or len(line) == 1:
        drawn.set(marker=look.marker, markersize=3.5)
    if line["seeds"].max() > 1:
        ax.fill_between(line["x"], line["low"], line["high"], color=look.colour, alpha=0.18, lw=0)


def _crosses(ax: Axes, diverged: pd.DataFrame) -> None:
    """A cross at the foot of a panel for each row and place where runs diverged."""
    places = diverged[["row", "x"]].drop_duplicates()
    for number, (row, x) in enumerate(places.itertuples(index=False)):
        high = 0.04 + 0.08 * (number % 5)
        (drawn,) = ax.plot([x], [high], "x", color=style(row).colour, label=f"× {row}")
        drawn.set(transform=ax.get_xaxis_transform(), clip_on=False, zorder=5)
        drawn.set(markersize=4.5, markeredgewidth=1.2)


def _legend(figure: Figure) -> None:
    """The names of all lines of a figure, once, beside its panels."""
    every: dict[str, Artist] = {}
    for ax in figure.axes:
        lines, names = ax.get_legend_handles_labels()
        every |= dict(zip(names, lines, strict=True))
    # A row with a line needs no other entry for the cross of its runs that diverged.
    named = {name: every[name] for name in every if name not in {f"× {row}" for row in every}}
    if named and figure.get_figwidth() == DOUBLE:
        figure.legend(list(named.values()), list(named), loc="outside right upper")
    elif named:
        figure.legend(list(named.values()), list(named), loc="outside upper left", ncols=2)


def _counted(ax: Axes) -> None:
    """A horizontal axis of whole numbers from 0."""
    ax.margins(x=0)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")


def _doubling(ax: Axes, ticks: Iterable[int]) -> None:
    """A horizontal axis on which doubling is a step, with these ticks alone."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(ticks)), [str(tick) for tick in sorted(set(ticks))])
    ax.xaxis.minorticks_off()
