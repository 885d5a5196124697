"""Figures of lines: curves of trainings, frequencies of codes, and metrics against a knob."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from workflows import registry
from workflows.render import captions
from workflows.render.collected import Collected, Runs
from workflows.render.figures.layout import DOUBLE, GREY, SINGLE, page, style, title
from workflows.render.notes import budget, failures, means, seeds_planned
from workflows.render.numbers import PROTOCOLS, heading

METHODS = "methods"
# Metric -> what its axis says, and the factor of its unit.
USAGE = {"usage": ("validation usage (%)", 100.0), "perplexity": ("validation perplexity", 1.0)}
AXIS = {"epoch": "epoch", "step": "training step"}
# `workflows.training.stage2.QUICK` in words, without the imports that training needs.
QUICK = "20 steps with eta 0 and no guidance, not as the table's"
LARGEST = 15.0  # points: the diameter of the largest mark of a sweep
# Dataset -> (row, quantity) -> values: a line for each x, a column for each run.
Lines = Mapping[str, Mapping[tuple[str, str], pd.DataFrame]]


def training_curves(data: Collected) -> Figure:
    """Usage and perplexity of the validation images in the course of training."""
    runs_of = {name: data.runs(METHODS, name) for name in data.plan.datasets_of(METHODS)}
    # Below two whole epochs, steps tell more.
    shown = [[cell for runs in every for cell in runs.cells] for every in runs_of.values()]
    reached = [data.curves.loc[data.curves["cell"].isin(cells), "epoch"].max() for cells in shown]
    x = "epoch" if min(reached) >= 2 or np.isnan(reached).all() else "step"
    lines = {
        dataset: {
            (runs.row, metric): of_curves(data.curves, runs.cells, x, metric) * factor
            for metric, (_, factor) in USAGE.items()
            for runs in every
        }
        for dataset, every in runs_of.items()
    }
    said = "Usage and perplexity are of up to 500 validation images. "
    figure, panels = _sheet(data, METHODS, lines, dict.fromkeys(USAGE, 1.3), said)
    for dataset, axes in panels.items():
        for metric, ax in axes.items():
            for runs in runs_of[dataset]:
                ends = [_end(data, cell, x) for cell in runs.failed]
                _draw(ax, lines[dataset][runs.row, metric], runs, ends)
            ax.set_ylabel(USAGE[metric][0])
            ax.set_ylim(bottom=0)
            _counted(ax, AXIS[x] if metric == "perplexity" else "")
        _legend(axes["usage"])
    return figure


def progress(data: Collected, table: str) -> Figure:
    """The Fréchet distance of a few samples in the course of training, from decoded noise on."""
    lines = {
        dataset: {
            (runs.row, "FID"): of_curves(data.curves, runs.cells, "epoch", "FID")
            for runs in data.runs(table, dataset)
        }
        for dataset in data.plan.datasets_of(table)
    }
    said = f"Epoch 0: noise, decoded. Sampled in {QUICK}. "
    figure, panels = _sheet(data, table, lines, {"FID": 1.5}, said)
    for dataset, axes in panels.items():
        ax = axes["FID"]
        for runs in data.runs(table, dataset):
            values = lines[dataset][runs.row, "FID"]
            _draw(ax, values, runs, [0.0] * len(runs.failed), mark=True)
        ax.set_ylabel(f"FID (N = {data.plan.progress_samples:,})")
        # Noise is so far off that what models differ by would be within the width of a line.
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        _counted(ax, "epoch")
        _legend(ax)
    return figure


def code_histograms(data: Collected) -> Figure:
    """How often each code is hit on the test split, most frequent first, out of all K."""
    lines = {
        dataset: {
            (runs.row, "frequency"): of_codes(data.codes, runs.finished)
            for runs in data.runs(METHODS, dataset)
        }
        for dataset in data.plan.datasets_of(METHODS)
    }
    said = "Codes of the test images; a line ends at the last code in use. "
    figure, panels = _sheet(data, METHODS, lines, {"frequency": 1.9}, said)
    for dataset, axes in panels.items():
        ax = axes["frequency"]
        models: list[Any] = [
            data.plan.knobs(cell) for runs in data.runs(METHODS, dataset) for cell in runs.cells
        ]
        size = max(registry.codebook_size(knobs) or 1 for knobs in models)
        even = ax.axhline(1 / size, color=GREY, ls=(0, (6, 3)), lw=0.7)
        even.set_label(f"uniform: 1/{size}")
        for runs in data.runs(METHODS, dataset):
            values = lines[dataset][runs.row, "frequency"]
            _draw(ax, values, runs, [float(size)] * len(runs.failed), _used(data, runs, size))
        ticks = sorted({size // 8**n for n in range(4)} - {0} | {1})
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_ylabel("frequency")
        ax.set_xlabel("code, most frequent first")
        _legend(ax)
    return figure


def dimensionality(data: Collected) -> Figure:
    """rFID against the code dimension; a mark's area is proportional to the dimension."""
    return _sweep(data, "code_dimension", "code_dim", "code dimension D", {"rFID": 1.8})


def codebook_size(data: Collected) -> Figure:
    """rFID and usage against the number of codevectors."""
    heights = {"rFID": 1.3, "usage": 1.3}
    return _sweep(data, "codebook_size", "codebook_size", "codebook size K", heights)


def _sweep(
    data: Collected, table: str, knob: str, label: str, heights: Mapping[str, float]
) -> Figure:
    """Metrics against a knob, by the protocol of the published numbers if it was measured."""
    here = (data.measured["table"] == table) & (data.measured["status"] == "ok")
    values = data.measured[here & data.measured["metric"].isin(list(heights))]
    protocol = "as_published" if (values["protocol"] == "as_published").any() else "exact"
    values = values[values["protocol"] == protocol]
    x_of = {
        line.cell: getattr(data.plan.knobs(line.cell), knob) for line in data.plan.lines_of(table)
    }
    values = values.assign(
        x=values["cell"].map(x_of),
        method=values["row"].map(_method),
        value=values["value"].where(values["metric"] != "usage", values["value"] * 100),
    )
    tried = sorted(set(x_of.values()))
    runs_of = {name: _by_method(data, table, name) for name in data.plan.datasets_of(table)}
    lines = {
        dataset: {
            (runs.row, metric): _against(values, dataset, runs.row, metric).reindex(tried)
            for runs in every
            for metric in heights
        }
        for dataset, every in runs_of.items()
    }
    areas = knob == "code_dim"
    said = f"{PROTOCOLS[protocol].capitalize()}; a lower rFID is better. "
    said += "Areas are proportional to D. " if areas else ""
    figure, panels = _sheet(data, table, lines, heights, said)
    for dataset, axes in panels.items():
        for metric, ax in axes.items():
            for runs in runs_of[dataset]:
                crosses = sorted(x_of[cell] for cell in runs.failed)
                drawn = lines[dataset][runs.row, metric]
                _draw(ax, drawn, runs, crosses, mark=not areas)
                if areas:
                    sizes = LARGEST**2 * drawn.index.to_numpy() / max(tried)
                    colour = style(runs.row).colour
                    ax.scatter(
                        drawn.index, drawn.mean(axis=1), sizes, color=colour, alpha=0.55, lw=0.4,
                        edgecolor="white",
                    )  # fmt: skip
            ax.set_xscale("log", base=2)
            ax.set_xticks(tried, list(map(str, tried)))
            ax.minorticks_off()
            ax.margins(0.12)
            if metric == "usage":
                ax.set_ylim(bottom=0)
            of = values[(values["dataset"] == dataset) & (values["metric"] == metric)]
            ax.set_ylabel(heading(metric, set(of["images"].dropna().astype(int))))
        ax.set_xlabel(label)
        _legend(next(iter(axes.values())))
    return figure


def _sheet(
    data: Collected, table: str, lines: Lines, heights: Mapping[str, float], said: str
) -> tuple[Figure, dict[str, dict[str, Axes]]]:
    """A figure with its small print, and for every dataset that has a line the panel of a quantity.

    A dataset that has no line says why. heights: quantity -> inches of its panels. said: what the
    small print says of the lines.
    """
    behind = {
        f"{row} on {captions.short(data.plan, dataset)}": values.shape[1]
        for dataset, of in lines.items()
        for (row, _), values in of.items()
    }
    seen = [name for name, of in lines.items() if not all(v.empty for v in of.values())]
    notes = [
        f"{budget(data, table, lines)} {said if seen else ''}"
        + means(behind, seeds_planned(data, table)),
        *failures(data, table, seen),
    ]
    tall = list(heights.values())
    figure = page(SINGLE if len(lines) == 1 else DOUBLE, sum(tall) + 0.6, notes)
    axes = figure.subplots(len(tall), len(lines), squeeze=False, height_ratios=tall)
    panels = {}
    for column, dataset in zip(axes.T, lines, strict=True):
        column[0].set_title(title(data.plan, dataset, table), loc="left")
        if dataset in seen:
            panels[dataset] = dict(zip(heights, column, strict=True))
            for ax in column:
                ax.grid(axis="y")
            continue
        for ax in column:
            ax.set_axis_off()
        words = textwrap.fill(data.reason(table, dataset), 44)
        # Long reasons are cut by the panel, so that they do not push the other panels aside.
        place = {"transform": column[0].transAxes, "va": "top", "clip_on": True}
        column[0].text(0, 1, words, color=GREY, **place).set_in_layout(False)
    figure.align_ylabels(axes)
    return figure, panels


def _draw(
    ax: Axes,
    values: pd.DataFrame,
    runs: Runs,
    crosses: Sequence[float],
    label: str = "",
    mark: bool = False,
) -> None:
    """A row's mean over seeds, from the lowest to the highest as a band, and its failures.

    values: a line for each x, a column for each seed. crosses: for each x that has no number, a
    cross is drawn at the foot of the panel, above those of others. mark: whether every value has a
    marker.
    """
    look, label = style(runs.row), label or runs.label
    if not values.empty:
        marker = look.marker if mark or len(values) == 1 else ""
        line = {"color": look.colour, "ls": look.dash, "lw": 1.1, "marker": marker, "ms": 3.5}
        ax.plot(values.index, values.mean(axis=1), label=label, **line)
        if values.shape[1] > 1:
            low, high = values.min(axis=1), values.max(axis=1)
            ax.fill_between(values.index, low, high, color=look.colour, alpha=0.18, lw=0)
        label = "_"
    for x in dict.fromkeys(crosses):
        others = [drawn for drawn in ax.lines if drawn.get_marker() == "x"]
        below = sum(np.asarray(cross.get_xdata())[0] == x for cross in others)
        ax.plot(
            [x], [0.04 + 0.08 * below], "x", ms=4.5, mew=1.2, color=look.colour,
            transform=ax.get_xaxis_transform(), clip_on=False, zorder=5, label=label,
        )  # fmt: skip
        label = "_"


def _legend(ax: Axes) -> None:
    """The names of the lines, beside the panel."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), handlelength=1.6, borderpad=0.1)


def of_curves(curves: pd.DataFrame, cells: Sequence[str], x: str, metric: str) -> pd.DataFrame:
    """A metric in the course of training at the steps that every run has recorded, by `x`.

    Runs without a record do not count. Of runs that share no step, the first alone is shown.
    """
    known = curves[curves["cell"].isin(list(cells))].dropna(subset=[metric])
    wide = known.pivot_table(index="step", columns="cell", values=metric)
    both = wide.dropna()
    if both.empty:
        both = wide.iloc[:, :1].dropna()
    places = known.drop_duplicates("step").set_index("step", drop=False)[x]
    return both.set_axis(places.reindex(both.index), axis=0).astype(float)


def of_codes(codes: pd.DataFrame, cells: Sequence[str]) -> pd.DataFrame:
    """Frequencies of codes by rank from 1, averaged over sorted runs; without codes never hit."""
    found = {}
    for cell in cells:
        counts = codes.loc[codes["cell"] == cell, "count"].to_numpy(dtype=float)
        if counts.sum() > 0:
            found[cell] = pd.Series(np.sort(counts)[::-1] / counts.sum())
    frame = pd.DataFrame(found).fillna(0.0)
    frame.index = frame.index + 1
    return frame[frame.gt(0).any(axis=1)]


def _against(values: pd.DataFrame, dataset: str, method: str, metric: str) -> pd.DataFrame:
    """A method's values by x, a column a seed; empty without any."""
    keys = {"dataset": dataset, "method": method, "metric": metric}
    of = values[(values[list(keys)] == pd.Series(keys)).all(axis=1)]
    return of.pivot_table(index="x", columns="seed", values="value")


def _method(row: str) -> str:
    """The method in a sweep's row, such as VQ-VAE of `VQ-VAE, D = 4`."""
    return row.split(",")[0]


def _by_method(data: Collected, table: str, dataset: str) -> list[Runs]:
    """The runs of all rows of a method as those of one."""
    found: dict[str, Runs] = {}
    for runs in data.runs(table, dataset):
        method = _method(runs.row)
        whole = found.setdefault(method, Runs(method, [], {}))
        whole.finished.extend(runs.finished)
        whole.failed.update(runs.failed)
    return list(found.values())


def _end(data: Collected, cell: str, x: str) -> float:
    """Where a failed run broke off: at its last record, or at the start if it has none."""
    log = data.curves.loc[data.curves["cell"] == cell, x]
    return float(log.max()) if len(log) else 0.0


def _used(data: Collected, runs: Runs, size: int) -> str:
    """A row and how many of its codes are hit at all, from the fewest to the most."""
    counts = [data.codes.loc[data.codes["cell"] == cell, "count"] for cell in runs.finished]
    used = sorted({int((count > 0).sum()) for count in counts if len(count)})
    if not used:
        return runs.label
    reach = f"{used[0]}" if len(used) == 1 else f"{used[0]} to {used[-1]}"
    return f"{runs.row}\n{reach} of {size} used"


def _counted(ax: Axes, label: str) -> None:
    """A horizontal axis of whole numbers from 0; without a label for a panel above another."""
    ax.margins(x=0)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlabel(label)
    ax.tick_params(labelbottom=bool(label))
