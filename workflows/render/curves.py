"""How codebooks fill up in the course of training."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflows.render import seeds
from workflows.render.collected import Collected
from workflows.render.labels import empty, failed, label_ends, line
from workflows.render.notes import budget, failures, means, seeds_planned, short
from workflows.render.panels import across, panels
from workflows.render.scales import counted, foot, roomy, unit

TABLE = "methods"
# Metric -> what its axis says, and the factor of its unit.
SHOWN = {"usage": ("validation usage (%)", 100.0), "perplexity": ("validation perplexity", 1.0)}
AXIS = {"epoch": "epoch", "step": "training step"}
TALL, ROOM = 1.3, 0.04  # inches
Lines = dict[tuple[str, str], seeds.Spread]  # (metric, row)


def training_curves(data: Collected) -> Figure:
    """Usage and perplexity of the validation images in the course of training."""
    datasets = data.datasets(TABLE)
    reached = [_records(data, dataset)["epoch"].max() for dataset in datasets]
    x = unit(min((epoch for epoch in reached if epoch == epoch), default=0))
    lines = {dataset: _lines(data, dataset, x) for dataset in datasets}
    seen = [name for name, some in lines.items() if any(map(len, some.values()))]
    behind = {
        f"{row} on {short(data.plan, dataset)}": drawn.seeds
        for dataset, some in lines.items()
        for (_, row), drawn in some.items()
    }
    notes = [
        f"{budget(data, TABLE, datasets)} Usage and perplexity are of up to 500 validation "
        "images. " + means(behind, seeds_planned(data, TABLE), "bands"),
        *failures(data, TABLE, seen),
    ]
    labels = [runs.label for dataset in datasets for runs in data.runs(TABLE, dataset)]
    figure, axes = panels(data.plan, datasets, labels, notes, [TALL] * len(SHOWN))
    for column, dataset in enumerate(datasets):
        if dataset not in seen:
            empty(axes[:, column], data.reason(TABLE, dataset))
            continue
        for ax, metric in zip(axes[:, column], SHOWN, strict=True):
            _draw(ax, data, dataset, x, metric, lines[dataset])
        across(axes[:, column], AXIS[x])
    return figure


def _records(data: Collected, dataset: str) -> pd.DataFrame:
    """The training records of a dataset's runs."""
    cells = [cell for runs in data.runs(TABLE, dataset) for cell in runs.cells]
    return data.curves[data.curves["cell"].isin(cells)]


def _lines(data: Collected, dataset: str, x: str) -> Lines:
    return {
        (metric, runs.row): seeds.of_curves(data.curves, runs.cells, x, metric)
        for metric in SHOWN
        for runs in data.runs(TABLE, dataset)
    }


def _draw(ax: Axes, data: Collected, dataset: str, x: str, metric: str, lines: Lines) -> None:
    text, factor = SHOWN[metric]
    rows = data.runs(TABLE, dataset)
    crosses = {runs.row: [_end(data, cell, x) for cell in runs.failed] for runs in rows}
    highs = [drawn.high.max() for (of, _), drawn in lines.items() if of == metric and len(drawn)]
    counted(ax, float(_records(data, dataset)[x].max()))
    roomy(ax, 0, max(highs, default=1.0) * factor, ROOM, foot(crosses))
    for runs in rows:
        drawn = lines[metric, runs.row].times(factor)
        line(ax, drawn, runs.row, runs.label)
        failed(ax, crosses[runs.row], runs.row, "" if len(drawn) else runs.label)
    ax.set_ylabel(text)
    label_ends(ax)


def _end(data: Collected, cell: str, x: str) -> float:
    """Where a failed run broke off: at its last record, or at the start if it has none."""
    log = data.curves.loc[data.curves["cell"] == cell, x]
    return float(log.max()) if len(log) else 0.0
