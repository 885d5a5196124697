"""Figures of diffusion models, from made-up numbers."""

from __future__ import annotations

import pandas as pd

from tests import plans
from workflows.config.lines import Codes, Curve, Measured
from workflows.render.collected import Collected
from workflows.render.figures.images import neighbours, samples
from workflows.render.figures.lines import progress

CELL = "digits/ldm/vq_vae/seed0"


def collected(distances: list[float]) -> Collected:
    """Of one run, whose distance was looked at once an epoch."""
    plan = plans.plan(
        {CELL: plans.cell(CELL, method="ldm", batch_size=64)},
        [("generation", "LDM", CELL)],
        tables={"generation": plans.table(["LDM"], stage=2)},
        progress_samples=1024,
    )
    values = {"table": "generation", "row": "LDM", "dataset": "digits", "cell": CELL}
    measured = {**values, "status": "ok", "protocol": "samples", "metric": "FID", "value": 9.0}
    curves = [{"cell": CELL, "epoch": n, "step": n, "FID": d} for n, d in enumerate(distances)]
    return Collected(
        plan,
        pd.DataFrame([measured] if curves else [], columns=list(Measured.model_fields)),
        pd.DataFrame(curves, columns=list(Curve.model_fields)),
        pd.DataFrame(columns=list(Codes.model_fields)),
        pd.DataFrame(),
    )


def test_the_distance_is_drawn_from_noise_on_and_not_dwarfed_by_noise() -> None:
    (ax,) = progress(collected([470.0, 120.0, 90.0]), "generation").figure.axes
    (line,) = [line for line in ax.lines if line.get_label() == "LDM"]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert list(line.get_ydata()) == [470, 120, 90]
    assert ax.get_ylabel() == "FID (N = 1,024)"
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < 90 < 470 < high
    shown = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert shown == [100, 150, 200, 300, 500]


def test_a_figure_of_nothing_has_no_numbers() -> None:
    for draw in (samples, neighbours, progress):
        assert draw(collected([]), "generation").numbers.empty
