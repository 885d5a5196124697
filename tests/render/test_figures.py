"""Figures from made-up measurements: what they show, and that it can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from tests import plans
from tests.render.made import BAD, METHODS, REASON, SIZE, collected
from workflows.config.experiments import Experiment
from workflows.config.grid import ROOM
from workflows.config.reading import read_yaml
from workflows.render.figures import DRAWN
from workflows.render.figures.layout import NOTE, STYLES, style
from workflows.render.notes import means
from workflows.training.stage1 import WATCHED

ROOT = Path(__file__).parents[2]
SWEPT_BY = ("dimensionality", "codebook_size")
LINES = (*SWEPT_BY, "training_curves", "code_histograms")
NAMES = (*LINES, "reconstructions", "codevectors")


def words(figure: Figure) -> list[Text]:
    """Every text that is seen, but for those of ticks."""
    figure.canvas.draw()
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = {text for axis in axes for text in axis.get_ticklabels(which="both")}
    found = figure.findobj(lambda part: isinstance(part, Text) and part.get_visible())
    return [text for text in found if text not in ticks and text.get_text().strip()]


def said(figure: Figure) -> str:
    text = " ".join(text.get_text() for text in words(figure))
    return " ".join(text.split())


def lines(axes, label: str) -> Line2D:
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


@pytest.mark.parametrize("name", NAMES)
def test_words_are_legible_and_say_budget_seeds_and_datasets(name: str, tmp_path: Path) -> None:
    bad = ("digits/sq_vae", "patches/cvq_vae/default/seed1")
    figure = DRAWN[name](collected(tmp_path, seeds=(0, 1, 2), bad=bad))
    found = words(figure)
    assert min(text.get_fontsize() for text in found) >= NOTE >= 6
    # Long reasons are cut by their panel and have no part in the layout.
    for text in (text for text in found if text.get_in_layout()):
        box = Text.get_window_extent(text)
        assert figure.bbox.y0 - 1 <= box.y0, text
        assert figure.bbox.x0 - 1 <= box.x0, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for expected in ("(stand-in for MNIST)", "(stand-in for CIFAR10)", "as long as"):
        assert expected in said(figure)
    assert "seeds 0, 1, 2" in said(figure) or "seed 0 (the first of 3)" in said(figure)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_is_a_figure_that_says_why(name: str, tmp_path: Path) -> None:
    text = said(DRAWN[name](collected(tmp_path, "dataset_missing", datasets=("digits",))))
    assert f"dataset missing: {REASON}" in text
    assert "error" not in text  # of reconstructions


def test_a_figure_is_the_same_file_in_another_process_and_on_another_processor(
    tmp_path: Path,
) -> None:
    """The second process may use neither wide registers nor a second thread."""
    program = (
        "import sys; from pathlib import Path; from tests.render.made import write_all;"
        "write_all(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    plain = {
        "PYTHONHASHSEED": "7",
        "OMP_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    }
    for out, changes in (("one", {}), ("two", plain)):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, tmp_path / "cells", tmp_path / out],
            cwd=ROOT,
            env={**os.environ, **changes},
            check=True,
        )
    made = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert len(made) == 2 * len(NAMES) + 1
    for name in made:
        one, two = ((tmp_path / out / name).read_bytes() for out in ("one", "two"))
        assert one == two, name


def test_a_dollar_in_a_name_begins_no_formula(tmp_path: Path) -> None:
    data = collected(tmp_path, bad=("digits/sq_vae",))
    measured = data.measured.assign(note=data.measured["note"].str.replace("loss", "$a_$"))
    assert "the $a_$ is nan" in said(DRAWN["training_curves"](replace(data, measured=measured)))


@pytest.mark.parametrize("name", SWEPT_BY)
def test_a_failed_run_leaves_a_cross_at_its_place_and_its_reason(name: str, tmp_path: Path) -> None:
    figure = DRAWN[name](collected(tmp_path, bad=(BAD, BAD.replace("D8", "K8"))))
    for index, ax in enumerate(figure.axes):
        crosses = [drawn for drawn in ax.lines if drawn.get_marker() == "x"]
        # The panels alternate between two datasets, of which the second has no failure.
        wanted = [8.0] if index % 2 == 0 else []
        assert [float(np.asarray(cross.get_xdata())[0]) for cross in crosses] == wanted
        assert np.isnan(lines(ax, "SQ-VAE").get_ydata()).sum() == len(wanted)
    assert f"on MNIST (diverged: {REASON})" in said(figure)


@pytest.mark.parametrize("name", LINES[2:])
def test_a_row_that_failed_keeps_its_name_with_a_cross(name: str, tmp_path: Path) -> None:
    figure = DRAWN[name](collected(tmp_path, bad=("digits/sq_vae",)))
    assert [drawn.get_marker() for drawn in figure.axes[0].lines].count("x") == 1
    assert f"× SQ-VAE on MNIST (diverged: {REASON})" in said(figure)
    named = [text.get_text() for ax in figure.axes if ax.legend_ for text in ax.legend_.get_texts()]
    assert "× SQ-VAE" in named


def test_the_small_print_says_how_long_the_measured_rows_were_trained(tmp_path: Path) -> None:
    draw = DRAWN["training_curves"]
    data = collected(tmp_path, bad=("digits/sq_vae",))
    cells = {
        name: plans.changed(cell, epochs=40, batch_size=32)
        if name.startswith("digits/sq_vae")
        else cell
        for name, cell in data.plan.cells.items()
    }
    data = replace(data, plan=data.plan.model_copy(update={"cells": cells}))
    assert "2 epochs over 12,000 images at batch 16" in said(draw(data))
    # There is neither a number of what has not been run yet, nor a failure.
    left = data.measured[data.measured["status"] == "ok"]
    assert "2 epochs over 12,000 images at batch 16" in said(draw(replace(data, measured=left)))
    nothing = data.measured.assign(status="not_run")
    assert "epochs" not in said(draw(replace(data, measured=nothing)))


def test_a_sweep_has_ticks_at_the_tested_values_and_areas_in_proportion(tmp_path: Path) -> None:
    figure = DRAWN["dimensionality"](collected(tmp_path))
    ax = figure.axes[0]
    assert "Exact protocol" in said(figure)
    assert ax.get_ylabel() == "rFID (N = 64)"
    assert list(ax.get_xticks()) == [4, 8, 32]
    marks = [found for found in ax.collections if isinstance(found, PathCollection)]
    assert len(marks) == 3
    for found in marks:
        np.testing.assert_allclose(found.get_sizes() / found.get_sizes()[0], [1, 2, 8])


def test_a_sweep_of_seeds_shows_mean_lowest_and_highest(tmp_path: Path) -> None:
    figure = DRAWN["codebook_size"](collected(tmp_path, seeds=(0, 1, 2)))
    ax = figure.axes[0]
    np.testing.assert_allclose(lines(ax, "CVQ-VAE").get_ydata(), 330)
    band = ax.collections[0].get_datalim(ax.transData)
    np.testing.assert_allclose([band.y0, band.y1], [300, 360])
    assert "Mean over 3 runs, of seeds 0, 1, 2; bands: lowest to highest." in said(figure)


def test_curves_are_the_mean_of_the_seeds_that_finished(tmp_path: Path) -> None:
    bad = ("digits/sq_vae/default/seed0", "digits/sq_vae/default/seed2")
    figure = DRAWN["training_curves"](collected(tmp_path, seeds=(0, 1, 2), bad=bad))
    # Of the records that all seeds have.
    line = lines(figure.axes[0], "CVQ-VAE")
    np.testing.assert_allclose(line.get_xdata(), np.arange(1, 6) / 2)
    np.testing.assert_allclose(line.get_ydata(), np.arange(1, 6) + 1)
    band = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    np.testing.assert_allclose([band.y0, band.y1], [1, 7])
    np.testing.assert_allclose(lines(figure.axes[0], "SQ-VAE").get_ydata(), np.arange(1, 7) + 1)
    assert "Mean over 3 runs (SQ-VAE on MNIST: 1)" in said(figure)
    assert "of seeds 0, 1, 2; bands: lowest to highest." in said(figure)
    assert "× SQ-VAE on MNIST, seeds 0, 2 (diverged" in said(figure)
    assert f"of up to {WATCHED} validation images" in said(figure)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ({"VQ-VAE": 1, "SQ-VAE": 0}, "One run each, {}."),
        ({"VQ-VAE": 2, "SQ-VAE": 0}, "Mean over 2 runs, {}; bands: lowest to highest."),
        # What most lines rest on is the rule.
        ({"A": 1, "B": 3, "C": 1}, "One run each (B: 3), {}; bands: lowest to highest."),
    ],
)
def test_fewer_runs_than_seeds_are_called_so(drawn: dict, words: str) -> None:
    which = "of the planned seeds\N{NO-BREAK SPACE}0, 1, 2"
    assert means(drawn, [0, 1, 2]) == words.format(which)


@pytest.mark.parametrize(
    ("steps_an_epoch", "label", "ticks"),
    [(2, "epoch", [0, 1, 2]), (3, "training step", [0, 1, 2, 3, 4, 5])],
)
def test_whole_epochs_are_counted_and_steps_below_two(
    steps_an_epoch: int, label: str, ticks: list[int], tmp_path: Path
) -> None:
    bottom = DRAWN["training_curves"](collected(tmp_path, steps_an_epoch=steps_an_epoch)).axes[2]
    assert (bottom.get_xlabel(), bottom.get_ylabel()) == (label, "validation perplexity")
    low, high = bottom.get_xlim()
    assert [tick for tick in bottom.get_xticks() if low <= tick <= high] == ticks


def test_a_histogram_is_the_mean_of_sorted_frequencies_out_of_all_codes(tmp_path: Path) -> None:
    ax = DRAWN["code_histograms"](collected(tmp_path, seeds=(0, 1))).axes[0]
    line = lines(ax, "CVQ-VAE\n13 to 14 of 16 used")
    counts = [np.where(np.arange(SIZE) < 2 + seed, 0, 2.0 ** np.arange(SIZE)) for seed in (0, 1)]
    mean = np.mean([np.sort(some)[::-1] / some.sum() for some in counts], axis=0)
    np.testing.assert_allclose(line.get_ydata(), mean[mean > 0])
    assert list(line.get_xdata()) == list(range(1, 15))
    np.testing.assert_allclose(lines(ax, "uniform: 1/16").get_ydata(), 1 / SIZE)
    assert ax.get_xlim()[1] >= SIZE
    assert SIZE in ax.get_xticks()


def test_reconstructions_are_the_first_seeds_pixels_with_their_errors(tmp_path: Path) -> None:
    data = collected(tmp_path, seeds=(4, 5), bad=("digits/sq_vae/default/seed4",))
    figure = DRAWN["reconstructions"](data)
    assert "runs of seed 4 (the first of 2)" in said(figure)
    assert f"diverged: {REASON}" in said(figure)
    assert {"original", *METHODS} <= {" ".join(text.get_text().split()) for text in words(figure)}
    source = Image.open(tmp_path / "digits/vq_vae/default/seed4/reconstructions.png")
    first, made = np.split(np.asarray(source.convert("RGB"), dtype=float)[:, :28], 2)
    # Below the originals each row has its line and that of its errors; a column for each dataset.
    for ax, wanted in zip(figure.axes[0:6:2], (first, made), strict=False):
        shown = ax.images[0]
        assert (shown.get_array()[:, :28] == wanted).all()
        assert shown.get_interpolation() == "none"
    errors = figure.axes[4].images[0]
    np.testing.assert_allclose(errors.get_array()[:, :28], np.abs(first - made).mean(axis=2))
    assert (errors.get_clim(), errors.get_cmap().name) == ((0, 128), "magma")
    assert "mean of its channels (8-bit levels)" in said(figure)


def test_methods_differ_in_colour_and_in_a_second_cue() -> None:
    for table in ("methods", "reinitialisation", "components", "anchors"):
        rows = read_yaml(ROOM / "experiments" / f"{table}.yaml", Experiment).rows
        names = [row.row for row in rows]
        assert set(names) <= set(STYLES)
        looks = [style(name) for name in names]
        assert len({(look.colour, str(look.dash)) for look in looks}) == len(names)
        if table in ("methods", "reinitialisation"):
            assert len({look.colour for look in looks}) == len(names)
            assert len({look.marker for look in looks}) == len(names)
