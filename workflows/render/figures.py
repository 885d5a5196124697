"""The figures, each a function from collected measurements to a Figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from workflows.render.panels import finish, head, line, panels, title
from workflows.render.style import MARKERS, colour


@dataclass(frozen=True)
class Collected:
    """A plan, its collected CSVs, and the folder of reconstructions."""

    plan: Mapping[str, Any]
    measured: pd.DataFrame
    curves: pd.DataFrame
    codes: pd.DataFrame
    pictures: Path


def dimensionality(data: Collected) -> plt.Figure:
    """rFID against the code dimension; a blob's area grows with the dimension."""
    return _sweep(data, "code_dimension", "code_dim", "code dimension D", ["rFID"], blobs=True)


def codebook_size(data: Collected) -> plt.Figure:
    """rFID and usage against the number of codevectors."""
    table, label = "codebook_size", "codebook size K"
    return _sweep(data, table, "codebook_size", label, ["rFID", "usage"], blobs=False)


def training_curves(data: Collected) -> plt.Figure:
    """Usage and perplexity of the validation split against the epoch."""
    datasets = _datasets(data, "methods")
    figure, axes = panels(data.plan, datasets, 2)
    for column, dataset in enumerate(datasets):
        for at_line, metric in enumerate(("usage", "perplexity")):
            ax = axes[at_line, column]
            head(
                ax,
                title(data.plan, dataset),
                "epoch",
                metric + (" (%)" if metric == "usage" else ""),
            )
            for method, cell in _cells(data, "methods", dataset):
                log = data.curves[data.curves["cell"] == cell].dropna(subset=[metric])
                y = log[metric] * (100 if metric == "usage" else 1)
                line(ax, log["epoch"], y, method)
            finish(ax)
    return figure


def code_histograms(data: Collected) -> plt.Figure:
    """How often each code is hit on the test split, most frequent first."""
    datasets = _datasets(data, "methods")
    figure, axes = panels(data.plan, datasets, 1)
    for column, dataset in enumerate(datasets):
        ax = axes[0, column]
        head(ax, title(data.plan, dataset), "code, most frequent first", "frequency")
        for method, cell in _cells(data, "methods", dataset):
            counts = data.codes.loc[data.codes["cell"] == cell, "count"].to_numpy(dtype=float)
            used = np.sort(counts[counts > 0])[::-1]
            line(ax, np.arange(1, len(used) + 1), used / max(used.sum(), 1), method)
        if ax.lines:
            ax.set_yscale("log")
        finish(ax)
    return figure


def reconstructions(data: Collected) -> plt.Figure:
    """Test images, and below them what each method makes of them."""
    datasets = _datasets(data, "methods")
    cells = {name: _cells(data, "methods", name) for name in datasets}
    height = 1 + max((len(some) for some in cells.values()), default=0)
    figure, axes = panels(data.plan, datasets, height, tall=0.62)
    for column, dataset in enumerate(datasets):
        axes[0, column].set_title(title(data.plan, dataset))
        for ax in axes[:, column]:
            ax.set_axis_off()
        for at_line, (method, cell) in enumerate(cells[dataset], start=1):
            path = data.pictures / (cell.replace("/", "__") + ".png")
            ax = axes[at_line, column]
            ax.text(-0.01, 0.5, method, transform=ax.transAxes, ha="right", va="center", size=7)
            if not path.is_file():
                ax.text(0.5, 0.5, "no reconstruction", transform=ax.transAxes, ha="center", size=7)
                continue
            image = plt.imread(path)
            half = image.shape[0] // 2
            ax.imshow(image[half:], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if not axes[0, column].images:
                top = axes[0, column]
                top.imshow(image[:half], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                place = {"transform": top.transAxes, "ha": "right", "va": "center", "size": 7}
                top.text(-0.01, 0.5, "original", **place)
    return figure


def _sweep(
    data: Collected, table: str, knob: str, label: str, metrics: list[str], blobs: bool
) -> plt.Figure:
    datasets = _datasets(data, table)
    figure, axes = panels(data.plan, datasets, len(metrics))
    values = data.measured[(data.measured["table"] == table) & (data.measured["status"] == "ok")]
    if "as_published" in set(values["protocol"]):
        values = values[values["protocol"] == "as_published"]
    for column, dataset in enumerate(datasets):
        for at_line, metric in enumerate(metrics):
            ax = axes[at_line, column]
            head(
                ax, title(data.plan, dataset), label, metric + (" (%)" if metric == "usage" else "")
            )
            at = values[(values["dataset"] == dataset) & (values["metric"] == metric)]
            x = [data.plan["cells"][cell]["knobs"][knob] for cell in at["cell"]]
            at = at.assign(x=x, method=at["row"].str.split(",").str[0])
            for key, some in at.groupby("method", sort=False):
                method = str(key)
                mean = some.groupby("x")["value"].mean() * (100 if metric == "usage" else 1)
                line(ax, mean.index, mean, method, marker=None if blobs else MARKERS.get(method))
                if blobs:
                    ax.scatter(mean.index, mean, s=4 * mean.index, color=colour(method), alpha=0.6)
            if ax.lines:
                ax.set_xscale("log", base=2)
                ax.xaxis.set_major_formatter("{x:.0f}")
            finish(ax)
    return figure


def _datasets(data: Collected, table: str) -> list[str]:
    cells = [row["cell"] for row in data.plan["rows"] if row["table"] == table]
    return list(dict.fromkeys(data.plan["cells"][cell]["knobs"]["dataset"] for cell in cells))


def _cells(data: Collected, table: str, dataset: str) -> list[tuple[str, str]]:
    """The row and the first seed's cell of every row."""
    found: dict[str, str] = {}
    for row in data.plan["rows"]:
        knobs = data.plan["cells"][row["cell"]]["knobs"]
        if row["table"] == table and knobs["dataset"] == dataset:
            found.setdefault(row["row"], row["cell"])
    return list(found.items())
