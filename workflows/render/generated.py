"""What diffusion models make: samples, what they resemble, and how they got better."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from workflows.render import seeds
from workflows.render.collected import Collected
from workflows.render.labels import empty, failed, label_ends, line
from workflows.render.notes import (
    NOTHING,
    budget,
    failures,
    means,
    numbered,
    seeds_planned,
    short,
)
from workflows.render.panels import across, panels
from workflows.render.plates import NEAREST, Lines, plate
from workflows.render.scales import counted, distances, foot
from workflows.render.tiles import tiled

ACROSS = 8  # images of a stored picture beside each other
# `workflows.diffusion_training.QUICK` in words, without the imports that training needs.
QUICK = "20 steps with eta 0 and no guidance, not as the table's"
TALL, ROOM = 1.5, 0.04  # inches


def samples(data: Collected, table: str) -> Figure:
    """A line of samples for each row that was run, the first of its first seed."""
    return _plate(data, table, "", "Samples; nobody has chosen them.")


def neighbours(data: Collected, table: str) -> Figure:
    """Below each sample the training image whose Inception features are nearest to it."""
    measured = [name for name in data.datasets(table) if data.rows_measured(table, name)]
    among = [f"{data.plan.reference_of(name)} ({short(data.plan, name)})" for name in measured]
    about = f"Samples above the training images nearest to them, of {'; '.join(among)}."
    return _plate(data, table, "neighbours", about)


def _plate(data: Collected, table: str, kind: str, about: str) -> Figure:
    lines = {name: _lines(data, table, name, kind) for name in data.datasets(table)}
    planned = seeds_planned(data, table)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    said = f"{about} Runs of {numbered(planned[:1])}{first}."
    if not any(data.rows_measured(table, name) for name in lines):
        said = NOTHING
    return plate(data, table, lines, f"{budget(data, table, lines)} {said}")


def _lines(data: Collected, table: str, dataset: str, kind: str) -> Lines:
    found: Lines = {}
    for runs in data.runs(table, dataset):
        first = data.plan.rows_of(table, dataset)[runs.row][0]
        path = data.picture(first, kind)
        if first in runs.failed or path is None:
            found[runs.row] = runs.failed.get(first, "not measured")
            continue
        pixels = np.asarray(Image.open(path).convert("RGB"))
        side = pixels.shape[1] // ACROSS
        found[runs.row] = tiled(pixels[:side])
        if kind:
            found[NEAREST + runs.row] = tiled(pixels[side : 2 * side])
    return found


def progress(data: Collected, table: str) -> Figure:
    """The Fréchet distance of a few samples in the course of training, from decoded noise on."""
    datasets = data.datasets(table)
    lines = {
        dataset: {
            runs.row: seeds.of_curves(data.curves, runs.cells, "epoch", "FID")
            for runs in data.runs(table, dataset)
        }
        for dataset in datasets
    }
    behind = {
        f"{row} on {short(data.plan, dataset)}": drawn.seeds
        for dataset, some in lines.items()
        for row, drawn in some.items()
    }
    seen = [name for name, some in lines.items() if any(map(len, some.values()))]
    notes = [
        f"{budget(data, table, datasets)} "
        + (f"Epoch 0: noise, decoded. Sampled in {QUICK}. " if seen else "")
        + means(behind, seeds_planned(data, table), "bands"),
        *failures(data, table, seen),
    ]
    labels = [runs.label for dataset in datasets for runs in data.runs(table, dataset)]
    figure, axes = panels(data.plan, datasets, labels, notes, [TALL], table)
    for column, dataset in enumerate(datasets):
        if dataset not in seen:
            empty(axes[:, column], data.reason(table, dataset))
            continue
        ax, some = axes[0, column], lines[dataset]
        crosses = {runs.row: [0.0] * len(runs.failed) for runs in data.runs(table, dataset)}
        counted(ax, max(float(drawn.x.max()) for drawn in some.values() if len(drawn)))
        low = min(float(drawn.low.min()) for drawn in some.values() if len(drawn))
        high = max(float(drawn.high.max()) for drawn in some.values() if len(drawn))
        # Noise is so far off that what models differ by would be within the width of a line.
        distances(ax, low, high, ROOM, foot(crosses))
        for runs in data.runs(table, dataset):
            line(ax, some[runs.row], runs.row, runs.label, mark=True)
            failed(ax, crosses[runs.row], runs.row, "" if len(some[runs.row]) else runs.label)
        many = data.plan.progress_samples
        ax.set_ylabel(f"FID (N = {many:,})" if many else "FID")
        label_ends(ax)
        across(axes[:, column], "epoch")
    return figure
