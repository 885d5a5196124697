"""Figures of lines and points: trainings, frequencies of codes, metrics against a knob."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from workflows import registry
from workflows.render.captions import short
from workflows.render.collected import Collected
from workflows.render.figures.layout import (
    DOUBLE,
    GREY,
    SINGLE,
    Drawing,
    Style,
    page,
    style,
    words,
)
from workflows.render.numbers import heading

METHODS = "methods"
# Column of curves.csv -> what an axis says, and the factor of its unit.
USAGE = {"usage": ("validation usage (%)", 100.0), "perplexity": ("validation perplexity", 1.0)}
LARGEST = 15.0  # points: the diameter of the largest mark of a sweep
LINE = ["dataset", "row", "quantity"]
Panels = Mapping[tuple[str, str], Axes]


def training_curves(data: Collected) -> Drawing:
    """Usage and perplexity of the validation images in the course of training."""
    cells = cells_of(data, METHODS)
    curves = cells.merge(data.curves, on="cell")
    # Below two whole epochs, steps tell more.
    x = "epoch" if curves.groupby("dataset")["epoch"].max().min() >= 2 else "step"
    factors = {name: factor for name, (_, factor) in USAGE.items()}
    curves = curves.assign(**{name: curves[name] * by for name, by in factors.items()})
    lines = curves.melt(["dataset", "row", "failed", x], list(USAGE), "quantity").rename(
        columns={x: "x"}
    )
    ends = curves.groupby("cell")[x].max()
    labels = {name: label for name, (label, _) in USAGE.items()}
    figure, panels, shown = _sheet(
        data, METHODS, _shared(lines), cells["cell"].map(ends).fillna(0), labels, 1.3
    )
    for (_, quantity), ax in panels.items():
        ax.set_ylim(bottom=0)
        _counted(ax, x if quantity == "perplexity" else "")
    return Drawing(figure, shown)


def progress(data: Collected, table: str) -> Drawing:
    """The Fréchet distance of a few samples in the course of training, from decoded noise on."""
    cells = cells_of(data, table)
    curves = cells.merge(data.curves, on="cell").rename(columns={"epoch": "x", "FID": "value"})
    label = {"FID": f"FID (N = {data.plan.progress_samples:,})"}
    lines = curves.assign(quantity="FID")
    figure, panels, shown = _sheet(data, table, _shared(lines), cells["seed"] * 0, label, 1.6)
    for ax in panels.values():
        # Noise is so far off that what models differ by would be within the width of a line.
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        _counted(ax, "epoch")
    return Drawing(figure, shown)


def code_histograms(data: Collected) -> Drawing:
    """How often each code is hit on the test split, most frequent first, out of all K."""
    cells = cells_of(data, METHODS)
    counted = cells[~cells["failed"]].merge(ranked(data.codes), on="cell")
    lines = counted.assign(quantity="frequency")
    sizes = [registry.codebook_size(data.plan.knobs(cell)) or 1 for cell in cells["cell"]]  # type: ignore[arg-type]
    size = max(sizes)
    found = _summary(lines)
    found = found[found["mean"] > 0]
    label = {"frequency": "frequency"}
    figure, panels, shown = _sheet(data, METHODS, found, cells["seed"] * 0 + size, label, 1.9)
    for ax in panels.values():
        ax.axhline(1 / size, color=GREY, ls=(0, (6, 3)), lw=0.7)
        ax.text(1, 1 / size, f"uniform: 1/{size}", color=GREY, va="bottom")
        ticks = sorted({size // 8**n for n in range(4)} - {0} | {1})
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_xlabel("code, most frequent first")
    return Drawing(figure, shown)


def dimensionality(data: Collected) -> Drawing:
    """rFID against the code dimension; a mark's area is proportional to the dimension."""
    drawing, panels = _sweep(data, "code_dimension", "code_dim", ["rFID"], 2.0)
    largest = drawing.numbers["x"].max()
    for (dataset, _), ax in panels.items():
        here = drawing.numbers[drawing.numbers["dataset"] == dataset]
        for row, line in here.groupby("row", sort=False):
            areas = LARGEST**2 * line["x"] / largest
            colour = style(str(row)).colour
            ax.scatter(line["x"], line["mean"], areas, colour, alpha=0.55, lw=0.4, ec="white")
        ax.set_xlabel("code dimension D (a mark's area grows with D)")
    return drawing


def codebook_size(data: Collected) -> Drawing:
    """rFID and usage against the number of codevectors."""
    drawing, panels = _sweep(data, "codebook_size", "codebook_size", ["rFID", "usage"], 1.3)
    for (_, metric), ax in panels.items():
        if metric == "usage":
            ax.set_ylim(bottom=0)
            ax.set_xlabel("codebook size K")
    return drawing


def _sweep(
    data: Collected, table: str, knob: str, metrics: list[str], tall: float
) -> tuple[Drawing, Panels]:
    """Metrics against a knob, by the protocol of the published numbers if it was measured.

    The row of a sweep, such as `VQ-VAE, D = 4`, begins with the method that a line is of.
    """
    cells = cells_of(data, table)
    cells["x"] = [getattr(data.plan.knobs(cell), knob) for cell in cells["cell"]]
    cells["row"] = cells["row"].str.split(",").str[0]
    measured = data.numbers(table)
    labels, parts = {}, []
    for metric in metrics:
        values = measured[measured["metric"] == metric]
        factor = 100 if metric == "usage" else 1
        # What has no number is NaN, where a line breaks.
        known = values.set_index("cell")["value"] * factor
        parts.append(cells.assign(quantity=metric, value=cells["cell"].map(known)))
        labels[metric] = heading(metric, set(values["images"].dropna().astype(int)))
    found = _summary(pd.concat(parts))
    figure, panels, shown = _sheet(data, table, found, cells["x"], labels, tall, marks=True)
    tried = sorted(set(cells["x"]))
    for ax in panels.values():
        ax.set_xscale("log", base=2)
        ax.set_xticks(tried, list(map(str, tried)))
        ax.minorticks_off()
        ax.margins(0.12)
    return Drawing(figure, shown), panels


def usage_quality(data: Collected) -> Drawing:
    """rFID against usage, a point for each autoencoder of the budget."""
    return _points(data, "usage", "rFID", log=False)


def seconds_quality(data: Collected) -> Drawing:
    """PSNR against the minutes of training, a point for each autoencoder of the budget."""
    return _points(data, "minutes", "PSNR", log=True)


def _points(data: Collected, x: str, y: str, log: bool) -> Drawing:
    """A panel for each dataset, a point for each cell, a colour for each method."""
    measured = data.numbers().drop_duplicates(["cell", "metric"])
    wide = measured.pivot_table(index=["dataset", "cell"], columns="metric", values="value")
    seconds = measured.drop_duplicates("cell").set_index("cell")["seconds"]
    wide = wide.reindex(columns=["usage", "rFID", "PSNR"]).reset_index()
    wide["usage"] *= 100
    wide["minutes"] = wide["cell"].map(seconds) / 60
    wide["method"] = wide["cell"].str.split("/").str[1]
    points = wide[["dataset", "method", "cell", x, y]].dropna()
    points = points[np.isfinite(points[y])]
    datasets = dict.fromkeys(cell.dataset for cell in data.plan.cells.values())
    names = [name for name in datasets if (points["dataset"] == name).any()]
    figure = page(DOUBLE, 2.3, f"Budget {data.plan.budget}; a point for each trained autoencoder.")
    axes = figure.subplots(1, max(len(names), 1), squeeze=False)[0]
    if not names:
        words(axes[0], "nothing is measured")
    for ax, name in zip(axes, names, strict=False):
        ax.set_title(short(data.plan, name), loc="left")
        for method, of in points[points["dataset"] == name].groupby("method"):
            look = style(str(method))
            dots = {"color": look.colour, "marker": look.marker, "ls": "", "ms": 3.5, "alpha": 0.75}
            ax.plot(of[x], of[y], label=str(method).replace("_", " "), **dots)
        images = measured[(measured["metric"] == y) & (measured["dataset"] == name)]["images"]
        ax.set_xlabel({"usage": "usage (%)", "minutes": "minutes of training"}[x])
        ax.set_ylabel(heading(y, set(images.dropna().astype(int))))
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
        ax.grid()
    _legend(figure, axes)
    return Drawing(figure, points.reset_index(drop=True))


def cells_of(data: Collected, table: str) -> pd.DataFrame:
    """dataset, row, cell, seed, failed of a table's cells; a line each.

    A row of which some runs finished does not show the curves of those that failed; `_sheet` draws
    a cross for each.
    """
    lines = [
        (data.plan.cells[line.cell].dataset, line.row, line.cell, data.plan.knobs(line.cell).seed)
        for line in data.plan.lines_of(table)
    ]
    cells = pd.DataFrame(lines, columns=["dataset", "row", "cell", "seed"])
    return cells.assign(failed=cells["cell"].isin(list(data.failed)))


def ranked(codes: pd.DataFrame) -> pd.DataFrame:
    """cell, x, value: the frequencies of a cell's codes by rank from 1; 0 for codes never hit."""
    falling = codes.sort_values("count", ascending=False, kind="stable")
    counts = falling.groupby("cell", sort=False)["count"]
    found = falling.assign(
        x=counts.cumcount() + 1, value=falling["count"] / counts.transform("sum")
    )
    return found[["cell", "x", "value"]]


def _summary(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean, lowest and highest over seeds at each x, and how many there are."""
    # Curves of failed runs are shown where a row has no others.
    others = ~lines.groupby(LINE)["failed"].transform("all")
    kept = lines[~(lines["failed"] & others & lines["value"].notna())]
    values = kept.groupby([*LINE, "x"], sort=False)["value"]
    return values.agg(mean="mean", low="min", high="max", seeds="count").reset_index()


def _shared(lines: pd.DataFrame) -> pd.DataFrame:
    """The summary at the points of a training that every seed has recorded."""
    found = _summary(lines.dropna(subset=["value"]))
    most = found.groupby(LINE)["seeds"].transform("max")
    return found[found["seeds"] == most].reset_index(drop=True)


def _sheet(
    data: Collected,
    table: str,
    found: pd.DataFrame,
    places: pd.Series,
    labels: Mapping[str, str],
    tall: float,
    marks: bool = False,
) -> tuple[Figure, Panels, pd.DataFrame]:
    """A column of panels for each dataset, one for each quantity, and the names of lines at the
    side.

    found: of `_summary`. places: for each line of `cells_of` where the cross of a failed run goes.
    labels: quantity -> what its axis says. tall: inches of a panel. marks: whether every value has
    a marker. Returns the figure, its panels by dataset and quantity, and the numbers shown.
    """
    datasets, cells = data.plan.datasets_of(table), cells_of(data, table).assign(x=places)
    seeds = int(found["seeds"].max()) if len(found) else 0
    over = f"mean of {seeds} seeds, band: lowest to highest" if seeds > 1 else "one seed"
    failed = "; ×: no numbers" if cells["failed"].any() else ""
    caption = f"Budget {data.plan.budget}; {over if seeds else 'nothing is measured'}{failed}."
    wide = SINGLE if len(datasets) == 1 else DOUBLE
    figure = page(wide, tall * len(labels) + 0.7, caption)
    axes = figure.subplots(len(labels), len(datasets), squeeze=False)
    panels = {}
    for column, dataset in zip(axes.T, datasets, strict=True):
        column[0].set_title(short(data.plan, dataset, table), loc="left")
        here = found[(found["dataset"] == dataset) & found["mean"].notna()]
        if here.empty:
            for ax in column:
                ax.set_axis_off()
            words(column[0], data.reason(table, dataset), 0.9)
            continue
        for ax, (quantity, label) in zip(column, labels.items(), strict=True):
            panels[dataset, quantity] = ax
            ax.grid(axis="y")
            ax.set_ylabel(label)
            of = found[(found["dataset"] == dataset) & (found["quantity"] == quantity)]
            for row, line in of.groupby("row", sort=False):
                _draw(ax, line, style(str(row)), str(row), marks)
            bad = cells[cells["failed"] & (cells["dataset"] == dataset)]
            crosses = bad.assign(row=bad["row"].str.split(", [DK] =").str[0])
            for number, cross in enumerate(crosses[["row", "x"]].drop_duplicates().itertuples()):
                look = {
                    "color": style(str(cross.row)).colour,
                    "ms": 4.5,
                    "mew": 1.2,
                    "clip_on": False,
                }
                place = ax.get_xaxis_transform()
                high = 0.04 + 0.08 * (number % 5)
                name = f"× {cross.row}"
                ax.plot([cross.x], [high], "x", transform=place, zorder=5, label=name, **look)
    figure.align_ylabels(axes)
    _legend(figure, axes.ravel())
    numbers = found.drop(columns="quantity") if len(labels) == 1 else found
    return figure, panels, numbers.dropna(subset=["mean"]).reset_index(drop=True)


def _draw(ax: Axes, line: pd.DataFrame, look: Style, label: str, marks: bool) -> None:
    """A row's mean over seeds, and a band from the lowest to the highest."""
    line = line.sort_values("x")
    marker = look.marker if marks or len(line) == 1 else ""
    drawn = {"color": look.colour, "ls": look.dash, "lw": 1.1, "marker": marker, "ms": 3.5}
    ax.plot(line["x"], line["mean"], label=label, **drawn)
    if line["seeds"].max() > 1:
        ax.fill_between(line["x"], line["low"], line["high"], color=look.colour, alpha=0.18, lw=0)


def _legend(figure: Figure, axes: np.ndarray) -> None:
    """The names of all lines of a figure, once, beside its panels."""
    pairs = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes]
    every = {label: line for pair in pairs for line, label in pair}
    # A row with a line needs no other entry for the cross of its failed runs.
    named = {
        label: line
        for label, line in every.items()
        if not (label.startswith("× ") and label.removeprefix("× ") in every)
    }
    if named:
        narrow = figure.get_figwidth() < DOUBLE
        place = (
            {"loc": "outside upper left", "ncols": 2} if narrow else {"loc": "outside right upper"}
        )
        figure.legend(list(named.values()), list(named), **place)


def _counted(ax: Axes, label: str) -> None:
    """A horizontal axis of whole numbers from 0; without a label for a panel above another."""
    ax.margins(x=0)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlabel({"step": "training step"}.get(label, label))
    ax.tick_params(labelbottom=bool(label))
