"""Figures of lines: curves of trainings, frequencies of codes, and metrics against a knob."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from workflows import registry
from workflows.render.collected import Collected, Runs
from workflows.render.figures.layout import GREY, empty, failed, legend, line, panels, style
from workflows.render.notes import budget, failures, means, seeds_planned, short
from workflows.render.numbers import heading
from workflows.render.tables import PROTOCOLS

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
    # Below two whole epochs, steps tell more.
    datasets = data.datasets(METHODS)
    reached = [_records(data, METHODS, name)["epoch"].max() for name in datasets]
    x = "epoch" if min(reached, default=0) >= 2 or np.isnan(reached).all() else "step"
    lines = {
        dataset: {
            (runs.row, metric): of_curves(data.curves, runs.cells, x, metric) * factor
            for metric, (_, factor) in USAGE.items()
            for runs in data.runs(METHODS, dataset)
        }
        for dataset in datasets
    }
    said = "Usage and perplexity are of up to 500 validation images. "
    sheet = Sheet(data, METHODS, lines, dict.fromkeys(USAGE, 1.3))
    for dataset, axes in sheet.panels(said):
        for metric, ax in axes.items():
            for runs in data.runs(METHODS, dataset):
                ends = [_end(data, cell, x) for cell in runs.failed]
                sheet.draw(ax, dataset, metric, runs, ends)
            ax.set_ylabel(USAGE[metric][0])
            ax.set_ylim(bottom=0)
            _counted(ax, AXIS[x] if metric == "perplexity" else "")
        legend(axes["usage"])
    return sheet.figure


def progress(data: Collected, table: str) -> Figure:
    """The Fréchet distance of a few samples in the course of training, from decoded noise on."""
    lines = {
        dataset: {
            (runs.row, "FID"): of_curves(data.curves, runs.cells, "epoch", "FID")
            for runs in data.runs(table, dataset)
        }
        for dataset in data.datasets(table)
    }
    said = f"Epoch 0: noise, decoded. Sampled in {QUICK}. "
    sheet = Sheet(data, table, lines, {"FID": 1.5})
    for dataset, axes in sheet.panels(said):
        (ax,) = axes.values()
        for runs in data.runs(table, dataset):
            sheet.draw(ax, dataset, "FID", runs, [0.0] * len(runs.failed), mark=True)
        ax.set_ylabel(f"FID (N = {data.plan.progress_samples:,})")
        # Noise is so far off that what models differ by would be within the width of a line.
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        _counted(ax, "epoch")
        legend(ax)
    return sheet.figure


def code_histograms(data: Collected) -> Figure:
    """How often each code is hit on the test split, most frequent first, out of all K."""
    lines = {
        dataset: {
            (runs.row, "frequency"): of_codes(data.codes, runs.finished)
            for runs in data.runs(METHODS, dataset)
        }
        for dataset in data.datasets(METHODS)
    }
    said = "Codes of the test images; a line ends at the last code in use. "
    sheet = Sheet(data, METHODS, lines, {"frequency": 1.9})
    for dataset, axes in sheet.panels(said):
        (ax,) = axes.values()
        cells = [cell for runs in data.runs(METHODS, dataset) for cell in runs.cells]
        size = max(registry.codebook_size(data.knobs(cell)) or 1 for cell in cells)
        even = ax.axhline(1 / size, color=GREY, ls=(0, (6, 3)), lw=0.7)
        even.set_label(f"uniform: 1/{size}")
        for runs in data.runs(METHODS, dataset):
            label = _used(data, runs, size)
            sheet.draw(ax, dataset, "frequency", runs, [float(size)] * len(runs.failed), label)
        ticks = sorted({size // 8**n for n in range(4)} - {0} | {1})
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_ylabel("frequency")
        ax.set_xlabel("code, most frequent first")
        legend(ax)
    return sheet.figure


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
    values = values.assign(
        x=[getattr(data.knobs(cell), knob) for cell in values["cell"]],
        method=[_method(row) for row in values["row"]],
    )
    tried = sorted({getattr(data.knobs(line.cell), knob) for line in data.plan.lines_of(table)})
    lines: dict[str, dict[tuple[str, str], pd.DataFrame]] = {}
    for dataset in data.datasets(table):
        methods = dict.fromkeys(_method(runs.row) for runs in data.runs(table, dataset))
        of = values[values["dataset"] == dataset]
        lines[dataset] = {
            (method, metric): _against(of, method, metric, tried)
            for method in methods
            for metric in heights
        }
    areas = knob == "code_dim"
    said = f"{PROTOCOLS[protocol].capitalize()}; a lower rFID is better. "
    said += "Areas are proportional to D. " if areas else ""
    sheet = Sheet(data, table, lines, heights)
    for dataset, axes in sheet.panels(said):
        for metric, ax in axes.items():
            of = values[(values["dataset"] == dataset) & (values["metric"] == metric)]
            for runs in _by_method(data, table, dataset):
                crosses = [getattr(data.knobs(cell), knob) for cell in runs.failed]
                sheet.draw(ax, dataset, metric, runs, sorted(crosses), mark=not areas)
                if areas:
                    _marks(ax, lines[dataset][runs.row, metric], runs.row, max(tried))
            ax.set_xscale("log", base=2)
            ax.set_xticks(tried, list(map(str, tried)))
            ax.minorticks_off()
            ax.margins(0.12)
            if metric == "usage":
                ax.set_ylim(bottom=0)
            ax.set_ylabel(heading(metric, set(of["images"].dropna().astype(int))))
        ax.set_xlabel(label)
        legend(next(iter(axes.values())))
    return sheet.figure


@dataclass
class Sheet:
    """A figure whose panels show a table's lines. heights: quantity -> inches of its panels."""

    data: Collected
    table: str
    lines: Lines
    heights: Mapping[str, float]
    figure: Figure = None  # type: ignore[assignment]  # drawn by `panels`

    def panels(self, said: str) -> Iterator[tuple[str, dict[str, Axes]]]:
        """Every dataset that has a line, with the axes of each quantity.

        Draws the empty figure with its small print, and the reasons of datasets that have no line.
        said: what the small print says of the lines.
        """
        data, table = self.data, self.table
        behind = {
            f"{row} on {short(data.plan, dataset)}": 0 if values.empty else values.shape[1]
            for dataset, lines in self.lines.items()
            for (row, _), values in lines.items()
        }
        seen = [
            name for name, lines in self.lines.items() if not all(v.empty for v in lines.values())
        ]
        notes = [
            f"{budget(data, table, self.lines)} {said if seen else ''}"
            + means(behind, seeds_planned(data, table), "bands"),
            *failures(data, table, seen),
        ]
        heights = list(self.heights.values())
        self.figure, axes = panels(data.plan, list(self.lines), table, heights, notes)
        for column, dataset in enumerate(self.lines):
            if dataset in seen:
                yield dataset, dict(zip(self.heights, axes[:, column], strict=True))
            else:
                empty(axes[:, column], data.reason(table, dataset))

    def draw(
        self,
        ax: Axes,
        dataset: str,
        quantity: str,
        runs: Runs,
        crosses: Sequence[float],
        label: str = "",
        mark: bool = False,
    ) -> None:
        """A row's line, and a cross for each of its runs that failed."""
        values = self.lines[dataset][runs.row, quantity]
        line(ax, values, runs.row, label or runs.label, mark)
        failed(ax, crosses, runs.row, "_" if len(values) else label or runs.label)


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


def _against(values: pd.DataFrame, method: str, metric: str, tried: Sequence[int]) -> pd.DataFrame:
    """A method's values by x, a column a seed; NaN where no run has a value."""
    of = values[(values["method"] == method) & (values["metric"] == metric)]
    if of.empty:
        return pd.DataFrame()
    scale = 100.0 if metric == "usage" else 1.0
    return of.pivot_table(index="x", columns="seed", values="value").reindex(list(tried)) * scale


def _marks(ax: Axes, values: pd.DataFrame, method: str, largest: int) -> None:
    """A mark at every value, of an area proportional to its x."""
    areas = LARGEST**2 * values.index.to_numpy() / largest
    mean = values.mean(axis=1)
    colour = style(method).colour
    ax.scatter(values.index, mean, areas, color=colour, alpha=0.55, lw=0.4, edgecolor="white")


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


def _records(data: Collected, table: str, dataset: str) -> pd.DataFrame:
    """The training records of a dataset's runs."""
    cells = [cell for runs in data.runs(table, dataset) for cell in runs.cells]
    return data.curves[data.curves["cell"].isin(cells)]


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
