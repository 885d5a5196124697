"""The distance during a diffusion model's training, from made-up numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests import plans
from workflows.config.lines import Codes, Curve, Measured
from workflows.render.collected import Collected
from workflows.render.figures.images import neighbours, samples
from workflows.render.figures.lines import progress as drawn
from workflows.training.stage2 import QUICK

CELL, BELOW = "digits/ldm/vq_vae/seed0", "digits/vq_vae/D4-epochs30/seed0"


def progress(distances: list[float], first_stage: str | None = None) -> Figure:
    """Of one run, whose distance was looked at once an epoch."""
    return drawn(collected(distances, first_stage), "generation")


def collected(distances: list[float], first_stage: str | None = None) -> Collected:
    cells = {
        CELL: plans.cell(CELL, method="ldm", first_stage=first_stage, batch_size=64),
        BELOW: plans.cell(BELOW, epochs=30),
    }
    plan = plans.plan(
        cells,
        [("generation", "LDM", CELL)],
        tables={"generation": plans.table(["LDM"], stage=2)},
        progress_samples=1024,
        reference_images=2000,
    )
    values = {"table": "generation", "row": "LDM", "dataset": "digits", "cell": CELL}
    measured = {**values, "status": "ok", "protocol": "samples", "metric": "FID", "value": 9.0}
    curves = [{"cell": CELL, "epoch": n, "step": n, "FID": d} for n, d in enumerate(distances)]
    return Collected(
        plan,
        pd.DataFrame([measured] if curves else [], columns=list(Measured.model_fields)),
        pd.DataFrame(curves, columns=list(Curve.model_fields)),
        pd.DataFrame(columns=list(Codes.model_fields)),
    )


def words_of(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def test_the_distance_is_drawn_from_noise_on_and_not_dwarfed_by_noise() -> None:
    figure = progress([470.0, 120.0, 90.0])
    (ax,) = figure.axes
    (line,) = [line for line in ax.lines if line.get_label() == "LDM"]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert list(line.get_ydata()) == [470, 120, 90]
    assert ax.get_ylabel() == "FID (N = 1,024)"
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < 90 < 470 < high
    shown = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert shown == [100, 150, 200, 300, 500]
    assert QUICK["guidance"] == 1
    steps, eta = QUICK["sampling_steps"], QUICK["eta"]
    made = f"Sampled in {steps} steps with eta {eta:.0f} and no guidance, not as the"
    assert made in words_of(figure)


@pytest.mark.parametrize("first_stage", [None, BELOW])
def test_the_small_print_says_how_long_the_first_stage_was_trained(
    first_stage: str | None,
) -> None:
    figure = progress([300.0, 120.0, 90.0], first_stage)
    words = words_of(figure)
    assert "Budget made_up: a budget: 2 epochs over 3,600 images at batch 64." in words
    of_the_first_stage = "First stages: 30 epochs over 3,600 images at batch 16."
    assert (of_the_first_stage in words) == (first_stage is not None)


def test_neighbours_say_among_how_many_they_were_looked_for() -> None:
    words = words_of(neighbours(collected([300.0, 120.0]), "generation"))
    assert "nearest to them, of the first 2,000 of 3,600 (Digits). Runs of seed" in words


def test_a_figure_of_nothing_says_nothing_else() -> None:
    for draw in (samples, neighbours, drawn):
        words = words_of(draw(collected([]), "generation"))
        assert words == "Budget made_up: a budget. Nothing is measured."
