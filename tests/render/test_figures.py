"""Figures from made-up measurements: of a sane size, with a mark where a run failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from workflows.render import figures
from workflows.render.collected import Collected
from workflows.schema import schema

DRAW = [
    figures.dimensionality,
    figures.codebook_size,
    figures.training_curves,
    figures.reconstructions,
    figures.code_histograms,
]
METHODS = {"VQ-VAE": "vq_vae", "SQ-VAE": "sq_vae", "CVQ-VAE": "cvq_vae"}
SWEEPS = {"code_dimension": ("code_dim", "D"), "codebook_size": ("codebook_size", "K")}
BAD = "SQ-VAE"


def collected(tmp_path: Path, status: str = "ok") -> Collected:
    """Three methods on one dataset; SQ-VAE's last value diverged, or every cell has `status`."""
    cells, rows, lines, curves, codes = {}, [], [], [], []

    def add(table: str, row: str, cell: str, knobs: dict, state: str) -> None:
        cells[cell] = {"folder": "", "missing": None, "knobs": {"dataset": "mnist", **knobs}}
        rows.append({"table": table, "row": row, "cell": cell})
        base = {"table": table, "row": row, "dataset": "mnist", "cell": cell, "status": state}
        if state != "ok":
            lines.append({**base, "protocol": "all", "metric": "all", "note": "for a reason"})
            return
        for metric, value in (("rFID", 300.0), ("usage", 0.5)):
            values = {"protocol": "exact", "metric": metric, "value": value, "images": 64}
            lines.append({**base, **values})

    for method, name in METHODS.items():
        cell = f"mnist/{name}/default/seed0"
        add("methods", method, cell, {}, status)
        if status == "ok":
            curves += [
                {"cell": cell, "epoch": n, "usage": n / 9, "perplexity": 100.0 * n} for n in (1, 2)
            ]
            codes += [{"cell": cell, "code": n, "count": 10 * n} for n in range(4)]
        for table, (knob, letter) in SWEEPS.items():
            for value in (4, 8):
                state = "diverged" if method == BAD and value == 8 else status
                place = f"mnist/{name}/{letter}{value}/seed0"
                add(table, f"{method}, {letter} = {value}", place, {knob: value}, state)
    plan = {
        "title": "made_up",
        "cells": cells,
        "rows": rows,
        "datasets": {"mnist": {"title": "MNIST", "stand_in_for": None}},
    }
    frames = (
        pd.DataFrame(content, columns=list(schema(name)["properties"]))
        for name, content in (("measured", lines), ("curves", curves), ("codes", codes))
    )
    return Collected(plan, *frames, tmp_path)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for ax in figure.axes for text in ax.texts)


@pytest.mark.parametrize("draw", DRAW)
def test_labels_stay_beside_their_panels(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path))
    figure.canvas.draw()
    box = figure.get_tightbbox()
    wide, tall = figure.get_size_inches()
    assert box.height < 1.2 * tall
    assert box.width < 1.6 * wide


@pytest.mark.parametrize("draw", DRAW[:2])
def test_a_failed_run_leaves_a_cross_at_its_place(draw, tmp_path: Path) -> None:
    for ax in draw(collected(tmp_path)).axes:
        crosses = [drawn for drawn in ax.lines if drawn.get_marker() == "x"]
        assert [float(np.asarray(cross.get_xdata())[0]) for cross in crosses] == [8.0]
        labels = [text.get_text() for text in ax.texts]
        assert sorted(labels) == sorted(METHODS)


def test_a_sweep_says_its_protocol_and_number_of_images(tmp_path: Path) -> None:
    figure = figures.dimensionality(collected(tmp_path))
    assert figure.get_suptitle() == "made_up; exact protocol"
    assert figure.axes[0].get_ylabel() == "rFID (N = 64)"


@pytest.mark.parametrize("draw", DRAW)
def test_nothing_measured_is_a_figure_that_says_why(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path, "dataset_missing"))
    assert "no measurements: for a reason" in texts(figure)
