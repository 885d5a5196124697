"""The figures, each a function from collected measurements to a Figure."""

from __future__ import annotations

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np

from workflows.render.collected import Collected
from workflows.render.panels import failed, finish, head, line, panels, title
from workflows.render.sweep import sweep

__all__ = [
    "Collected",
    "code_histograms",
    "codebook_size",
    "dimensionality",
    "reconstructions",
    "training_curves",
]


def dimensionality(data: Collected) -> plt.Figure:
    """rFID against the code dimension; a blob's area grows with the dimension."""
    return sweep(data, "code_dimension", "code_dim", "code dimension D", ["rFID"], blobs=True)


def codebook_size(data: Collected) -> plt.Figure:
    """rFID and usage against the number of codevectors."""
    table, label = "codebook_size", "codebook size K"
    return sweep(data, table, "codebook_size", label, ["rFID", "usage"], blobs=False)


def training_curves(data: Collected) -> plt.Figure:
    """Usage and perplexity of the validation split against the epoch."""
    datasets = data.datasets("methods")
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
            for method, cell in data.cells("methods", dataset):
                log = data.curves[data.curves["cell"] == cell].dropna(subset=[metric])
                y = log[metric] * (100 if metric == "usage" else 1)
                line(ax, log["epoch"], y, method)
                if cell in set(data.failed("methods", dataset)["cell"]):
                    failed(ax, log["epoch"].tail(1) if len(log) else [1], method)
            finish(ax, data.reason("methods", dataset))
    return figure


def code_histograms(data: Collected) -> plt.Figure:
    """How often each code is hit on the test split, most frequent first."""
    datasets = data.datasets("methods")
    figure, axes = panels(data.plan, datasets, 1)
    for column, dataset in enumerate(datasets):
        ax = axes[0, column]
        head(ax, title(data.plan, dataset), "code, most frequent first", "frequency")
        for method, cell in data.cells("methods", dataset):
            counts = data.codes.loc[data.codes["cell"] == cell, "count"].to_numpy(dtype=float)
            used = np.sort(counts[counts > 0])[::-1]
            line(ax, np.arange(1, len(used) + 1), used / max(used.sum(), 1), method)
        if ax.lines:
            ax.set_yscale("log")
        finish(ax, data.reason("methods", dataset))
    return figure


def reconstructions(data: Collected) -> plt.Figure:
    """Test images, and below them what each method makes of them."""
    datasets = data.datasets("methods")
    cells = {name: data.cells("methods", name) for name in datasets}
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
                text = fill(data.reason("methods", dataset), 40)
                ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", size=7)
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
