"""Figures and sentences of the tables that go beyond the paper's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests import plans
from tests.records.test_verdicts import claim, measured, plan_with
from tests.render.made import collected
from workflows.config.lines import Measured
from workflows.records.verdicts import at_lengths
from workflows.render.collected import Collected
from workflows.render.figures import DRAWN
from workflows.render.verdicts import at_other_lengths


def test_lengths_count_in_images_beside_the_published_number(tmp_path: Path) -> None:
    figure = DRAWN["training_length"](collected(tmp_path, seeds=(0, 1))).figure
    psnr, rfid = figure.axes[1], figure.axes[3]
    ours = next(line for line in psnr.lines if line.get_label() == "CVQ-VAE")
    # 16 images, seen in 1, 2 and 8 epochs.
    assert list(ours.get_xdata()) == [16, 32, 128]
    assert [text.get_text() for text in psnr.texts] == ["CVQ-VAE + contrastive, published: 24.72"]
    level = psnr.lines[-1]
    np.testing.assert_allclose(level.get_ydata(), 24.72)
    # An rFID of 64 images stands beside no published one.
    assert not rfid.texts


def test_a_claim_says_at_which_lengths_it_held() -> None:
    about = plan_with([claim(metrics=("PSNR",))])
    rows = [f"{row}, length = {length}" for row in "ab" for length in ("1/4", "1")]
    plan = about.model_copy(update={"tables": {**about.tables, "lengths": plans.table(rows)}})
    values = {"a, length = 1/4": [20.0], "b, length = 1/4": [21.0]}
    values |= {"a, length = 1": [24.5], "b, length = 1": [24.0], "a": [9.0], "b": [1.0]}
    numbers = measured("PSNR", **values).assign(table="lengths")
    found = at_lengths(plan.claims[0], plan, numbers)
    assert found[["length", "effect"]].values.tolist() == [["1/4", -1.0], ["1", 0.5]]
    assert at_other_lengths(found, plan, "t") == [
        "MNIST stand-in, PSNR, by length of training (1 is this budget's; one seed): "
        "1/4: -1.00, did not hold; 1: +0.50, held."
    ]
    # A single length says no more than the verdict itself.
    assert at_other_lengths(found[found["length"] == "1"], plan, "t") == []
    assert at_lengths(plan.claims[0], about, numbers).empty


def test_the_loss_is_drawn_by_distance(tmp_path: Path) -> None:
    figure = DRAWN["cosine_loss"](collected(tmp_path)).figure
    loss = figure.axes[0]
    shown = {line.get_label() for line in loss.lines if not line.get_label().startswith("_")}
    assert shown == {"VQ-VAE (l2)", "CVQ-VAE"}
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 0.5 ** np.arange(1, 6))
    assert loss.get_yscale() == "log"


def test_codebooks_on_frozen_latents_are_lines_over_their_sizes() -> None:
    rows = [f"VQ-VAE (l2), K = {size}" for size in (512, 4096)]
    cells = {row: plans.cell(codebook_size=int(row.split()[-1]), dataset="d") for row in rows}
    plan = plans.plan(cells, [("frozen_latents", row, row) for row in rows])
    numbers = {"usage": (0.5, 0.1), "error": (0.25, 2.0)}
    lines = [
        {"table": "frozen_latents", "row": row, "dataset": "d", "cell": row, "metric": metric}
        | {"value": value, "protocol": "exact", "status": "ok"}
        for metric, values in numbers.items()
        for row, value in zip(rows, values, strict=True)
    ]
    data = Collected(
        plan,
        pd.DataFrame(lines, columns=list(Measured.model_fields)),
        *(pd.DataFrame() for _ in range(3)),
    )
    usage, error = DRAWN["frozen_latents"](data).figure.axes
    assert list(usage.lines[0].get_xdata()) == [512, 4096]
    np.testing.assert_allclose(usage.lines[0].get_ydata(), [50, 10])
    np.testing.assert_allclose(error.lines[0].get_ydata(), [0.25, 2.0])
    assert error.get_ylabel() == "error (of variance)"
