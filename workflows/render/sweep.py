"""A metric against a knob: one line a method, a panel for each dataset and metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflows.render import seeds
from workflows.render.collected import MISSING, Collected
from workflows.render.labels import empty, failed, label_ends, line
from workflows.render.lettering import POINTS
from workflows.render.notes import budget, failures, means, seeds_planned, short
from workflows.render.numbers import heading
from workflows.render.panels import across, panels
from workflows.render.scales import foot, roomy, tested
from workflows.render.style import style
from workflows.render.tables import PROTOCOLS

LARGEST = 15.0  # points: the diameter of the largest blob


@dataclass(frozen=True)
class Sweep:
    """table, knob: what is varied where. label: of its axis. tall: of a panel, in inches.

    blobs: whether a mark's area is proportional to the knob.
    """

    table: str
    knob: str
    label: str
    metrics: tuple[str, ...]
    tall: float
    blobs: bool = False


DIMENSION = Sweep("code_dimension", "code_dim", "code dimension D", ("rFID",), 1.8, blobs=True)
SIZE = Sweep("codebook_size", "codebook_size", "codebook size K", ("rFID", "usage"), 1.3)


def dimensionality(data: Collected) -> Figure:
    """rFID against the code dimension; a blob's area is proportional to the dimension."""
    return sweep(data, DIMENSION)


def codebook_size(data: Collected) -> Figure:
    """rFID and usage against the number of codevectors."""
    return sweep(data, SIZE)


def sweep(data: Collected, what: Sweep) -> Figure:
    """Means over seeds against a knob, with crosses where runs failed.

    Shows the protocol that is compared with the publication if it was measured, and says which.
    """
    datasets = data.datasets(what.table)
    values, protocol = _values(data, what)
    behind = {
        f"{row} on {short(data.plan, str(dataset))}": len(some)
        for (dataset, row, _), some in values.groupby(["dataset", "row", "metric"], sort=False)
    }
    shown = [name for name in datasets if name in set(values["dataset"])]
    notes = [
        f"{budget(data, what.table, datasets)} {PROTOCOLS[protocol].capitalize()}; a lower "
        "rFID is better. "
        + ("Areas are proportional to D. " if what.blobs else "")
        + means(behind, seeds_planned(data, what.table), "bars"),
        *failures(data, what.table, shown),
    ]
    methods = [f"× {_method(runs.row)}" for name in shown for runs in data.runs(what.table, name)]
    figure, axes = panels(data.plan, datasets, methods, notes, [what.tall] * len(what.metrics))
    for column, dataset in enumerate(datasets):
        here = values[values["dataset"] == dataset]
        if here.empty:
            empty(axes[:, column], data.reason(what.table, dataset))
            continue
        for ax, metric in zip(axes[:, column], what.metrics, strict=True):
            _draw(ax, data, dataset, what, here[here["metric"] == metric])
        across(axes[:, column], what.label)
    return figure


def _values(data: Collected, what: Sweep) -> tuple[pd.DataFrame, str]:
    """The measurements to show, with columns x and method, and their protocol."""
    here = (data.measured["table"] == what.table) & (data.measured["status"] == "ok")
    values = data.measured[here & data.measured["metric"].isin(what.metrics)]
    protocol = "as_published" if (values["protocol"] == "as_published").any() else "exact"
    values = values[values["protocol"] == protocol]
    x = [data.knobs(cell)[what.knob] for cell in values["cell"]]
    return values.assign(x=x, method=[_method(row) for row in values["row"]]), protocol


def _draw(ax: Axes, data: Collected, dataset: str, what: Sweep, values: pd.DataFrame) -> None:
    """One metric on one dataset."""
    if values.empty:
        empty(np.array([ax]), MISSING)
        return
    metric = values["metric"].iloc[0]
    scale = 100.0 if metric == "usage" else 1.0
    bad: dict[str, list[float]] = {}
    tried = set()
    for runs in data.runs(what.table, dataset):
        tried |= {data.knobs(cell)[what.knob] for cell in [*runs.finished, *runs.failed]}
        xs = {data.knobs(cell)[what.knob] for cell in runs.failed}
        bad.setdefault(_method(runs.row), []).extend(sorted(xs))
    room = (LARGEST / 2 + 2) / POINTS if what.blobs else 0.08
    tested(ax, sorted(tried), room)
    # Usage starts at nothing; of rFID the differences matter.
    low = 0 if metric == "usage" else values["value"].min()
    high = values["value"].max()
    roomy(ax, low * scale, high * scale, room, foot(bad))
    for method, crosses in bad.items():
        drawn = seeds.of_values(values[values["method"] == method], sorted(tried)).times(scale)
        line(ax, drawn, method, method, mark=not what.blobs, bars=True)
        if what.blobs:
            _blobs(ax, drawn, method, max(tried))
        failed(ax, crosses, method, "" if len(drawn) else f"× {method}")
    ax.set_ylabel(heading(metric, set(values["images"].dropna().astype(int))))
    label_ends(ax)


def _blobs(ax: Axes, drawn: seeds.Spread, method: str, largest: int) -> None:
    """A mark at every value, of an area proportional to it."""
    look = style(method)
    areas = LARGEST**2 * drawn.x / largest
    ax.scatter(drawn.x, drawn.mean, areas, color=look.colour, alpha=0.55, lw=0.4, edgecolor="white")


def _method(row: str) -> str:
    """The method in a sweep's row, such as VQ-VAE of `VQ-VAE, D = 4`."""
    return row.split(",")[0]
