"""Figures of lines and points: trainings, frequencies of codes, metrics against a setting."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from workflows import registry
from workflows.records.published import as_number
from workflows.render.captions import method_title, short
from workflows.render.collected import Collected
from workflows.render.figures import panels
from workflows.render.figures.layout import DOUBLE, GREY, NOTE, Drawing, page, style
from workflows.render.numbers import heading, too_few_images

METHODS = "methods"
# Columns of curves.csv, and the labels of their panels.
USAGE = {"usage": "validation usage (%)", "perplexity": "validation perplexity"}
LOSSES = {"loss": "training loss", "reconstruction": "reconstruction term"}
LENGTH = {"codevector_length": "codevector length"}
# Rows of the table of methods that `cosine_loss` compares. Cosine distance leaves the scale of the
# codevectors without a bound.
BY_DISTANCE = ("VQ-VAE (l2)", "VQ-VAE (cosine)", "CVQ-VAE")
# Published rows of the table of methods that `training_length` draws as levels.
LEVELS = ("VQ-VAE (l2)", "CVQ-VAE + contrastive")
LARGEST = 15.0  # points: the diameter of the largest mark of `dimensionality`
LEGEND_LINE = 0.14  # inches


def training_curves(data: Collected) -> Drawing:
    """Usage and perplexity of the validation images in the course of training."""
    drawing, axes = _in_training(data, METHODS, panels.cells_of(data, METHODS), USAGE)
    for ax in axes.values():
        ax.set_ylim(bottom=0)
    return drawing


def cosine_loss(data: Collected) -> Drawing:
    """The losses of VQ-VAE with either distance and of CVQ-VAE, and how long their vectors are."""
    cells = panels.cells_of(data, METHODS)
    compared = cells[cells["row"].isin(BY_DISTANCE)].reset_index(drop=True)
    lengths = data.curves[data.curves["cell"].isin(compared["cell"])]["codevector_length"]
    # The logs of release 0.2 have no lengths.
    labels = LOSSES | LENGTH if lengths.notna().any() else LOSSES
    drawing, axes = _in_training(data, METHODS, compared, labels)
    for ax in axes.values():
        panels.logarithmic(ax, "y", (1, 2, 5))
    return drawing


def progress(data: Collected, table: str) -> Drawing:
    """The Fréchet distance of a few samples in the course of training, from decoded noise on."""
    labels = {"FID": f"FID (N = {data.plan.progress_samples:,})"}
    drawing, axes = _in_training(data, table, panels.cells_of(data, table), labels)
    for ax in axes.values():
        # The distance of noise is so large that a linear axis would hide how models differ.
        panels.logarithmic(ax, "y", (1, 1.5, 2, 3, 5, 7))
    return drawing


def _in_training(
    data: Collected, table: str, cells: pd.DataFrame, labels: Mapping[str, str]
) -> tuple[Drawing, panels.Panels]:
    """Draw columns of curves.csv against the epochs of a training, or its steps if it is short."""
    curves = cells.merge(data.curves, on="cell")
    x = "epoch" if curves.groupby("dataset")["epoch"].max().min() >= 2 else "step"
    curves = curves.assign(x=curves[x], usage=100 * curves["usage"])
    lines = curves.melt(["dataset", "row", "diverged", "x"], list(labels), "quantity")
    summary = panels.summarise(lines.dropna(subset=["value"]))
    # A mean stands only where every seed has a record.
    seeds = summary.groupby(panels.LINE_KEYS)["seeds"].transform("max")
    # The cross of a training that diverged stands where the training broke off.
    ends = cells["cell"].map(curves.groupby("cell")["x"].max()).fillna(0)
    drawing, axes = panels.draw(
        data,
        table,
        summary[summary["seeds"] == seeds],
        cells.assign(x=ends),
        labels,
        "training step" if x == "step" else x,
    )
    for ax in axes.values():
        ax.margins(x=0)
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        ax.xaxis.set_major_formatter("{x:,.0f}")
    return drawing, axes


def code_histograms(data: Collected) -> Drawing:
    """How often each code is hit on the test split, most frequent first, out of all K."""
    cells = panels.cells_of(data, METHODS)
    knobs = [data.plan.knobs(cell) for cell in cells["cell"]]
    size = max(registry.codebook_size(each) or 1 for each in knobs)  # type: ignore[arg-type]
    counted = cells[~cells["diverged"]].merge(ranked(data.codes), on="cell")
    summary = panels.summarise(counted.assign(quantity="frequency")).query("mean > 0")
    labels, x_label = {"frequency": "frequency"}, "code, most frequent first"
    drawing, axes = panels.draw(data, METHODS, summary, cells.assign(x=size), labels, x_label)
    for ax in axes.values():
        panels.reference(ax, 1 / size)
        ax.text(1, 1 / size, f"uniform: 1/{size}", color=GREY, va="bottom")
        _doubling(ax, {size // 8**n for n in range(4)} - {0} | {1})
        panels.logarithmic(ax, "y")
    return drawing


def ranked(codes: pd.DataFrame) -> pd.DataFrame:
    """Return cell, x and value: rank from 1 and frequency of each code; 0 for a code never hit."""
    falling = codes.sort_values("count", ascending=False, kind="stable")
    counts = falling.groupby("cell", sort=False)["count"]
    shares = falling["count"] / counts.transform("sum")
    return falling.assign(x=counts.cumcount() + 1, value=shares)[["cell", "x", "value"]]


def dimensionality(data: Collected) -> Drawing:
    """rFID against the code dimension; a mark's area is proportional to the dimension."""
    label = "code dimension D (a mark's area grows with D)"
    drawing, axes = _sweep(
        data, "code_dimension", lambda cell: cell.knobs.code_dim, ["rFID"], label
    )
    for (dataset, row), line in drawing.numbers.groupby(["dataset", "row"], sort=False):
        areas = LARGEST**2 * line["x"] / drawing.numbers["x"].max()
        ax, colour = axes[str(dataset), "rFID"], style(str(row)).colour
        ax.scatter(line["x"], line["mean"], areas, colour, alpha=0.55, lw=0.4, ec="white")
    return drawing


def codebook_size(data: Collected) -> Drawing:
    """rFID and usage of the codebook against its size K."""
    return _by_size(data, "codebook_size", ["rFID", "usage"])[0]


def frozen_latents(data: Collected) -> Drawing:
    """Usage and error against the codebook size, for quantisers that are trained alone."""
    drawing, axes = _by_size(data, "frozen_latents", ["usage", "error"])
    for (_, metric), ax in axes.items():
        if metric == "error":
            panels.reference(ax, 1)
            panels.logarithmic(ax, "y", (1, 2, 5))
    return drawing


def _by_size(data: Collected, table: str, metrics: Iterable[str]) -> tuple[Drawing, panels.Panels]:
    return _sweep(data, table, lambda cell: cell.knobs.codebook_size, metrics, "codebook size K")


def training_length(data: Collected) -> Drawing:
    """PSNR and rFID against the images that a training has seen, and the published numbers."""
    table, x_label = "training_length", "training images seen (published: 25 million)"
    drawing, axes = _sweep(
        data, table, lambda cell: cell.images * cell.knobs.epochs, ["PSNR", "rFID"], x_label
    )
    ours = data.numbers(table)
    for (dataset, metric), ax in axes.items():
        images = ours[(ours["dataset"] == dataset) & (ours["metric"] == metric)]["images"]
        if too_few_images(metric, set(images.dropna())):
            continue
        published = data.published[
            (data.published["table"] == METHODS)
            & (data.published["dataset"] == data.plan.published_dataset(dataset, table))
            & (data.published["metric"] == metric)
            & data.published["row"].isin(LEVELS)
        ]
        for row, value in zip(published["row"], published["value"], strict=True):
            level, colour = as_number(value), style(row).colour
            ax.axhline(level, color=colour, lw=0.7, ls=(0, (1, 2)))
            label = f"{row}, published: {value}"
            text = ax.text(0.01, level, label, color=colour, size=NOTE, va="bottom")
            text.set_transform(ax.get_yaxis_transform())
    return drawing


def _sweep(
    data: Collected,
    table: str,
    setting: Callable[[Any], int],
    metrics: Iterable[str],
    x_label: str,
) -> tuple[Drawing, panels.Panels]:
    """Draw metrics against a setting, by the protocol of the published numbers if it was measured.

    setting: returns the setting of a PlannedCell.
    """
    cells = panels.cells_of(data, table)
    cells["x"] = [setting(data.plan.cells[cell]) for cell in cells["cell"]]
    # A row of a sweep, such as `VQ-VAE, D = 4`, is a point on the line of its method.
    cells["row"] = cells["row"].str.split(",").str[0]
    measured = data.numbers(table)
    labels, parts = {}, []
    for metric in metrics:
        lines = measured[measured["metric"] == metric]
        values = lines.set_index("cell")["value"] * (100 if metric == "usage" else 1)
        # A cell without a number becomes NaN, where the line breaks.
        parts.append(cells.assign(quantity=metric, value=cells["cell"].map(values)))
        labels[metric] = heading(metric, set(lines["images"].dropna().astype(int)))
    summary = panels.summarise(pd.concat(parts))
    drawing, axes = panels.draw(data, table, summary, cells, labels, x_label)
    for (_, metric), ax in axes.items():
        ax.margins(0.12)
        _doubling(ax, cells["x"])
        if metric == "usage":
            ax.set_ylim(bottom=0)
    return drawing, axes


def _doubling(ax: Axes, ticks: Iterable[int]) -> None:
    """Make a horizontal axis logarithmic to the base of 2, with these ticks alone."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(ticks)), [f"{tick:,}" for tick in sorted(set(ticks))])
    ax.xaxis.minorticks_off()


def points(data: Collected, x: Literal["usage", "minutes"], metric: str, stage: int = 1) -> Drawing:
    """Draw a metric against usage or minutes of training: a panel for each dataset, a point for
    each trained model of a stage.

    Autoencoders have the colour of their method. Generative models have the colour of their row,
    because their method does not name their first stage.
    """
    by = "method" if stage == 1 else "row"
    measured = data.numbers(stage=stage).drop_duplicates(["cell", "metric"])
    usage = measured[measured["metric"] == "usage"].set_index("cell")["value"]
    shown = measured[measured["metric"] == metric]
    shown = shown.assign(
        **{metric: shown["value"].astype(float)},
        method=shown["cell"].str.split("/").str[1],
        usage=100 * shown["cell"].map(usage),
        minutes=shown["seconds"] / 60,
    )
    shown = shown[np.isfinite(shown[metric]) & shown[x].notna()]
    planned = dict.fromkeys(cell.dataset for cell in data.plan.cells.values())
    datasets = [name for name in planned if (shown["dataset"] == name).any()]
    if not datasets:
        caption = f"Budget {data.plan.budget}; nothing is measured."
        return Drawing(page(DOUBLE, 0.3, caption), shown[["dataset", by, "cell", x, metric]])
    # Three panels at most fit beside each other and beside the legend.
    rows = math.ceil(len(datasets) / 3)
    columns = math.ceil(len(datasets) / rows)
    # The legend has a line for each colour.
    height = max(2.3 * rows, 0.3 + LEGEND_LINE * shown[by].nunique())
    figure = page(DOUBLE, height, f"Budget {data.plan.budget}; a point for each trained model.")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[len(datasets) :]:
        unused.remove()
    for ax, dataset in zip(axes[: len(datasets)], datasets, strict=True):
        # A longer title would leave no room for the panels.
        parts = textwrap.wrap(short(data.plan, dataset), 18, max_lines=2, placeholder=" …")
        ax.set_title("\n".join(parts), loc="left")
        models = shown[shown["dataset"] == dataset]
        for name, group in models.groupby(by):
            title = method_title(str(name)) if stage == 1 else str(name)
            colour, _, marker = style(title)
            ax.plot(group[x], group[metric], marker, color=colour, ms=3.5, alpha=0.75, label=title)
        ax.set_xlabel("usage (%)" if x == "usage" else "minutes of training")
        ax.set_ylabel(heading(metric, set(models["images"].dropna().astype(int))))
        ax.grid()
        if x == "minutes":
            panels.logarithmic(ax, "x", (1, 2, 5))
    panels.legend(figure)
    return Drawing(figure, shown[["dataset", by, "cell", x, metric]])
