"""Figures from made-up measurements: what they show, and that it can be read."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image
from safetensors.numpy import save_file

from workflows.render import figures
from workflows.render.collected import Collected
from workflows.render.errors import error_map
from workflows.render.labels import spaced
from workflows.render.lettering import width, wrap
from workflows.render.notes import means
from workflows.render.plan import Plan
from workflows.render.style import DPI, NOTE, STYLES, style
from workflows.schema import load_yaml, schema
from workflows.training import WATCHED

DRAW = [
    figures.dimensionality,
    figures.codebook_size,
    figures.training_curves,
    figures.reconstructions,
    figures.code_histograms,
    figures.codevectors,
]
METHODS = {
    "VQ-VAE (l2)": "vq_vae",
    "VQ-VAE (moving average)": "vq_vae_ema",
    "SQ-VAE": "sq_vae",
    "CVQ-VAE": "cvq_vae",
}
SWEPT = {"VQ-VAE": "vq_vae", "SQ-VAE": "sq_vae", "CVQ-VAE": "cvq_vae"}
SWEEPS = {"code_dimension": ("code_dim", "D"), "codebook_size": ("codebook_size", "K")}
DATASETS = {
    "digits": {"title": "MNIST, 5,000 of its training images", "stand_in_for": "mnist"},
    "patches": {
        "title": "32 x 32 patches of photographs from scikit-image and scikit-learn",
        "stand_in_for": "cifar10",
    },
    "faces": {"title": "FFHQ", "stand_in_for": None},
}
SIZE = 16  # of a codebook
BAD = "digits/sq_vae/D8/seed0"
REASON = "last good step 7; the loss is nan"


class Made:
    """A collected folder in the making."""

    def __init__(self, folder: Path, seeds: tuple[int, ...], bad: tuple[str, ...], status: str):
        self.folder, self.seeds, self.bad, self.status = folder, seeds, bad, status
        self.cells: dict = {}
        self.rows: list = []
        self.measured: list = []
        self.curves: list = []
        self.codes: list = []

    def add(self, table: str, row: str, dataset: str, cell: str, **knobs: int) -> None:
        for seed in self.seeds:
            self.add_seed(table, row, f"{cell}/seed{seed}", {"seed": seed, **knobs}, dataset)

    def add_seed(self, table: str, row: str, cell: str, knobs: dict, dataset: str) -> None:
        trained = {"epochs": 2, "batch_size": 16, "train_images": None}
        knobs = {"codebook_size": SIZE, **trained, **knobs, "dataset": dataset}
        self.cells[cell] = {"folder": f"{self.folder}/{cell}", "missing": None, "knobs": knobs}
        self.rows.append({"table": table, "row": row, "cell": cell})
        base = {"table": table, "row": row, "dataset": dataset, "cell": cell}
        if self.status != "ok" or any(cell.startswith(bad) for bad in self.bad):
            status = "diverged" if self.status == "ok" else self.status
            self.measured.append(
                {**base, "status": status, "protocol": "all", "metric": "all", "note": REASON}
            )
            return
        for metric, value in (("rFID", 300.0), ("usage", 0.5)):
            value *= 1 + knobs["seed"] / 10
            values = {"protocol": "exact", "metric": metric, "value": value, "images": 64}
            self.measured.append({**base, **values, "status": "ok"})

    def train(self, cell: str, seed: int, steps_an_epoch: int, records: int) -> None:
        """One record more for every seed; K - 2 - seed codes in use; grey pictures."""
        for n in range(1, records + 1 + seed):
            values = {"usage": (n + seed) / 100, "perplexity": 10.0 * n + seed}
            self.curves.append({"cell": cell, "epoch": n / steps_an_epoch, "step": n, **values})
        self.codes += [
            {"cell": cell, "code": n, "count": 0 if n < 2 + seed else 2**n} for n in range(SIZE)
        ]
        ramp = np.arange(28 * 2 * 28 * 8).reshape(56, 224) % 251
        picture = Image.fromarray((ramp + seed).astype(np.uint8))
        picture.save(self.folder / f"{cell.replace('/', '__')}.png")


def film(file: Path, steps: tuple[int, ...] = (0, 1, 10, 100), **changes: np.ndarray) -> None:
    """Codes 0 to 3 far out and in use, the rest near 0 and not; every tenth latent is far away."""
    random = np.random.default_rng(0)
    codebook = random.uniform(-0.05, 0.05, (len(steps), SIZE, 2))
    codebook[:, :4] = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    latents = random.normal(size=(len(steps), 40, 2))
    latents[:, ::10] *= 20
    counts = np.where(np.arange(SIZE) < 4, 50, 0) * np.ones((len(steps), 1))
    tensors = {"codebook": codebook, "latents": latents}
    packed = {name: value.astype(np.float32) for name, value in tensors.items()}
    packed |= {"step": np.array(steps, np.int32), "counts": counts.astype(np.int32), **changes}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(packed, file)


def collected(
    folder: Path,
    status: str = "ok",
    *,
    seeds: tuple[int, ...] = (0,),
    bad: tuple[str, ...] = (BAD,),
    datasets: tuple[str, ...] = ("digits", "patches"),
    steps_an_epoch: int = 2,
    records: int = 5,
) -> Collected:
    """Every method on every dataset; cells of `bad` prefixes diverged, or all have `status`."""
    made = Made(folder, seeds, bad, status)
    for dataset in datasets:
        for row, method in METHODS.items():
            made.add("methods", row, dataset, f"{dataset}/{method}/default")
            for seed in seeds if status == "ok" else ():
                cell = f"{dataset}/{method}/default/seed{seed}"
                made.train(cell, seed, steps_an_epoch, records)
        for row in ("VQ-VAE", "CVQ-VAE"):
            cell = f"{dataset}/{SWEPT[row]}/D2"
            made.add("two_dimensions", row, dataset, cell, code_dim=2)
            for seed in seeds if status == "ok" else ():
                film(folder / cell / f"seed{seed}" / "film.safetensors")
        for row, method in SWEPT.items():
            for table, (knob, letter) in SWEEPS.items():
                for value in (4, 8, 32):
                    cell = f"{dataset}/{method}/{letter}{value}"
                    made.add(table, f"{row}, {letter} = {value}", dataset, cell, **{knob: value})
    plan = {
        "budget": "made_up",
        "title": "made_up: a budget with a title that is as long as those of the others, or longer",
        "cells": made.cells,
        "rows": made.rows,
        "tables": {table: {} for table in ("methods", "two_dimensions", *SWEEPS)},
        "datasets": {name: {**DATASETS[name], "images": 12000} for name in datasets},
    }
    contents = (("measured", made.measured), ("curves", made.curves), ("codes", made.codes))
    frames = (
        pd.DataFrame(rows, columns=list(schema(name)["properties"])) for name, rows in contents
    )
    return Collected(Plan.of(plan), *frames, folder)


def words(figure: Figure) -> list[Text]:
    """Every text that is seen."""
    figure.canvas.draw()
    found = []
    for text in figure.findobj(Text):
        # A panel without axes still has its own words, but neither ticks nor labels.
        off = text.axes is not None and not text.axes.axison
        named = off and text.get_text() in [text.axes.get_title("left"), *_own(text.axes)]
        if text.get_text().strip() and text.get_visible() and (named or not off):
            found.append(text)
    return found


def _own(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def said(figure: Figure) -> str:
    text = " ".join(text.get_text() for text in words(figure))
    return " ".join(text.split())


def lines(axes, label: str) -> Line2D:
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize(
    "what",
    [
        {},
        {"datasets": ("digits",)},
        {"datasets": ("digits", "patches", "faces")},
        {"seeds": (0, 1, 2), "bad": ("digits/sq_vae", "patches/cvq_vae/default/seed1")},
        {"status": "dataset_missing"},
    ],
)
def test_all_words_fit_the_page_and_none_overlap(draw, what: dict, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path, **what))
    page = figure.bbox
    columns = len(what.get("datasets", "12")) > 1 or draw is figures.codevectors
    assert figure.get_size_inches()[0] <= (7.0 if columns else 3.45)
    assert figure.get_size_inches()[1] <= 9
    # Of the letters alone: an annotation's own extent includes the line that leads to it.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in words(figure)]
    assert len(boxes) > 4
    for text, box in boxes:
        assert page.x0 - 1 <= box.x0, text
        assert box.x1 <= page.x1 + 1, text
        assert page.y0 - 1 <= box.y0, text
        assert box.y1 <= page.y1 + 1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        # Boxes of lines of text touch; letters do not.
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        tall = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or tall <= 0.25 * min(a.height, b.height, 20), (one, other)


@pytest.mark.parametrize("draw", DRAW)
def test_no_text_is_too_small_and_the_stand_in_is_named(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path))
    assert min(text.get_fontsize() for text in words(figure)) >= NOTE >= 6
    for expected in ("(stand-in for MNIST)", "(stand-in for CIFAR10)", "as long as", "seed 0"):
        assert expected in said(figure)


@pytest.mark.parametrize("draw", DRAW[:2])
def test_a_failed_run_leaves_a_cross_at_its_place_and_its_reason(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path, bad=(BAD, BAD.replace("D8", "K8"))))
    for index, ax in enumerate(figure.axes):
        crosses = [drawn for drawn in ax.lines if drawn.get_marker() == "x"]
        # The panels of a dataset follow each other; the second dataset has no failure.
        wanted = [8.0] if index < len(figure.axes) / 2 else []
        assert [float(np.asarray(cross.get_xdata())[0]) for cross in crosses] == wanted
        assert sorted(_own(ax)) == sorted(SWEPT)
        assert np.isnan(lines(ax, "SQ-VAE").get_ydata()).sum() == len(wanted)
    assert f"on MNIST (diverged: {REASON})" in said(figure)


@pytest.mark.parametrize("draw", [figures.training_curves, figures.code_histograms])
def test_a_row_that_failed_keeps_its_name_with_a_cross(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path, bad=("digits/sq_vae",)))
    assert "× SQ-VAE" in [text.get_text() for text in figure.axes[0].texts]
    assert [drawn.get_marker() for drawn in figure.axes[0].lines].count("x") == 1
    assert f"× SQ-VAE on MNIST (diverged: {REASON})" in said(figure)


@pytest.mark.parametrize("draw", DRAW)
def test_nothing_measured_is_a_figure_that_says_why(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path, "dataset_missing"))
    assert f"no measurements: dataset missing: {REASON}" in said(figure)


@pytest.mark.parametrize("draw", [figures.training_curves, figures.code_histograms])
def test_the_small_print_says_how_long_the_measured_rows_were_trained(draw, tmp_path: Path) -> None:
    data = collected(tmp_path, bad=("digits/sq_vae",))
    for cell, about in data.plan.cells.items():
        if cell.startswith("digits/sq_vae"):
            about["knobs"].update(epochs=40, batch_size=32)
    assert "2 epochs over 12,000 images at batch 16" in said(draw(data))
    # Neither is there a number of what has not been run yet, nor a failure.
    left = data.measured[data.measured["status"] == "ok"]
    assert "2 epochs over 12,000 images at batch 16" in said(draw(replace(data, measured=left)))
    # The plan of what has not run at all would read as if it had.
    assert "epochs" not in said(
        draw(replace(data, measured=data.measured.assign(status="not_run")))
    )


def test_a_sweep_says_its_protocol_and_number_of_images(tmp_path: Path) -> None:
    figure = figures.dimensionality(collected(tmp_path))
    assert "Exact protocol" in said(figure)
    assert figure.axes[0].get_ylabel() == "rFID (N = 64)"


def test_a_sweep_has_ticks_at_the_tested_values_and_areas_in_proportion(tmp_path: Path) -> None:
    ax = figures.dimensionality(collected(tmp_path)).axes[0]
    assert list(ax.get_xticks()) == [4, 8, 32]
    assert len(ax.get_xticks(minor=True)) == 0
    blobs = [found for found in ax.collections if isinstance(found, PathCollection)]
    assert len(blobs) == 3
    for found in blobs:
        np.testing.assert_allclose(found.get_sizes() / found.get_sizes()[0], [1, 2, 8])
        # Wholly inside the panel.
        box, radius = ax.get_window_extent(), found.get_sizes()[-1] ** 0.5 / 2 * DPI / 72
        places = ax.transData.transform(np.asarray(found.get_offsets()[-1]))
        assert (places - radius >= box.min).all()
        assert (places + radius <= box.max).all()


def test_a_sweep_of_seeds_shows_mean_lowest_and_highest(tmp_path: Path) -> None:
    figure = figures.codebook_size(collected(tmp_path, seeds=(0, 1, 2)))
    ax = figure.axes[0]
    np.testing.assert_allclose(lines(ax, "CVQ-VAE").get_ydata(), 330)
    bars = [found for found in ax.collections if isinstance(found, LineCollection)]
    assert len(bars) == 3
    np.testing.assert_allclose(bars[0].get_segments()[0][:, 1], [300, 360])
    assert "Mean over 3 runs, of seeds 0, 1, 2; bars: lowest to highest." in said(figure)


def test_curves_of_seeds_show_the_mean_of_records_that_all_have(tmp_path: Path) -> None:
    figure = figures.training_curves(collected(tmp_path, seeds=(0, 1, 2)))
    line = lines(figure.axes[0], "SQ-VAE")
    np.testing.assert_allclose(line.get_xdata(), np.arange(1, 6) / 2)
    np.testing.assert_allclose(line.get_ydata(), np.arange(1, 6) + 1)
    band = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    np.testing.assert_allclose([band.y0, band.y1], [1, 7])
    assert "Mean over 3 runs, of seeds 0, 1, 2; bands: lowest to highest." in said(figure)


def test_a_seed_that_failed_is_not_in_the_mean_and_is_named(tmp_path: Path) -> None:
    bad = ("digits/sq_vae/default/seed0", "digits/sq_vae/default/seed2")
    figure = figures.training_curves(collected(tmp_path, seeds=(0, 1, 2), bad=bad))
    np.testing.assert_allclose(lines(figure.axes[0], "SQ-VAE").get_ydata(), np.arange(1, 7) + 1)
    assert "Mean over 3 runs (SQ-VAE on MNIST: 1)" in said(figure)
    assert "× SQ-VAE on MNIST, seeds 0, 2 (diverged" in said(figure)


@pytest.mark.parametrize(("drawn", "words"), [(1, "One run each"), (2, "Mean over 2 runs")])
def test_fewer_runs_than_seeds_are_called_so(drawn: int, words: str) -> None:
    said = means({"VQ-VAE": drawn, "SQ-VAE": 0}, [0, 1, 2], "bars")
    assert said.startswith(f"{words}, of the planned seeds\N{NO-BREAK SPACE}0, 1, 2")


def test_what_most_lines_rest_on_is_the_rule() -> None:
    said = means({"A": 1, "B": 3, "C": 1, "D": 0}, [0, 1, 2], "bands")
    which = "of the planned seeds\N{NO-BREAK SPACE}0, 1, 2"
    assert said == f"One run each (B: 3), {which}; bands: lowest to highest."


def test_curves_say_how_many_images_they_are_of(tmp_path: Path) -> None:
    asked = f"of up to {WATCHED} validation images"
    assert asked in said(figures.training_curves(collected(tmp_path)))


@pytest.mark.parametrize("draw", [DRAW[0], DRAW[1], DRAW[2], DRAW[4]])
def test_one_seed_is_called_one_and_has_no_range(draw, tmp_path: Path) -> None:
    figure = draw(collected(tmp_path, seeds=(3,)))
    assert "One run each, seed 3." in said(figure)
    assert all(isinstance(found, PathCollection) for ax in figure.axes for found in ax.collections)


def test_epochs_have_ticks_at_whole_numbers(tmp_path: Path) -> None:
    bottom = figures.training_curves(collected(tmp_path)).axes[1]
    assert bottom.get_xlabel() == "epoch"
    assert list(bottom.get_xticks()) == [0, 1, 2]
    assert bottom.get_ylabel() == "validation perplexity"


def test_less_than_two_epochs_are_counted_in_steps(tmp_path: Path) -> None:
    bottom = figures.training_curves(collected(tmp_path, steps_an_epoch=3)).axes[1]
    assert bottom.get_xlabel() == "training step"
    assert list(bottom.get_xticks()) == [0, 1, 2, 3, 4, 5]


def test_a_histogram_reaches_the_codebook_size_and_shows_uniform_use(tmp_path: Path) -> None:
    ax = figures.code_histograms(collected(tmp_path)).axes[0]
    assert ax.get_xlim()[1] >= SIZE
    assert SIZE in ax.get_xticks()
    line = lines(ax, "CVQ-VAE\n14 of 16 used")
    used = np.sort(2.0 ** np.arange(2, SIZE))[::-1]
    np.testing.assert_allclose(line.get_ydata(), used / used.sum())
    assert list(line.get_xdata()) == list(range(1, 15))
    assert 1 / SIZE in [np.asarray(drawn.get_ydata())[0] for drawn in ax.lines]
    assert "uniform: 1/16" in [text.get_text() for text in ax.texts]


def test_a_histogram_of_seeds_is_the_mean_of_sorted_frequencies(tmp_path: Path) -> None:
    ax = figures.code_histograms(collected(tmp_path, seeds=(0, 1))).axes[0]
    line = lines(ax, "CVQ-VAE\n13 to 14 of 16 used")
    counts = [np.where(np.arange(SIZE) < 2 + seed, 0, 2.0 ** np.arange(SIZE)) for seed in (0, 1)]
    mean = np.mean([np.sort(some)[::-1] / some.sum() for some in counts], axis=0)
    np.testing.assert_allclose(line.get_ydata(), mean[mean > 0])


def test_reconstructions_are_the_first_seeds_pixels_uninterpolated(tmp_path: Path) -> None:
    data = collected(tmp_path, seeds=(4, 5), bad=("digits/sq_vae/default/seed4",))
    figure = figures.reconstructions(data)
    assert "runs of seed 4 (the first of 2)" in said(figure)
    assert f"diverged: {REASON}" in said(figure)
    labels = {text.get_text().replace("\n", " ") for text in words(figure)}
    assert {"original", *METHODS} <= labels
    # Two datasets, the originals and four methods with their errors, of which one has no picture
    # on MNIST; and the key to the errors.
    assert len(figure.axes) == 2 * (1 + 2 * 4) - 2 + 1
    source = np.asarray(Image.open(tmp_path / "digits__vq_vae__default__seed4.png"))
    figure.savefig(tmp_path / "figure.png", dpi=DPI)
    page = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB"))
    box = figure.axes[0].get_window_extent()
    top, left = round(page.shape[0] - box.y1), round(box.x0)
    for half, down in ((source[:28], 0), (source[28:], round(box.y1 - figure.axes[1].bbox.y1))):
        shown = page[top + down : top + down + 56, left : left + 56]
        assert (shown == half[:, :28].repeat(2, 0).repeat(2, 1)[..., None]).all()
    # Below it the errors of the first image, of both datasets on the same scale.
    expected = error_map(source[:28, :28, None], source[28:, :28, None])
    for ax in (figure.axes[2], figure.axes[-8]):
        where = ax.get_window_extent()
        top, left = round(page.shape[0] - where.y1), round(where.x0)
        shown = page[top : top + 56, left : left + 56]
        assert (shown == expected.repeat(2, 0).repeat(2, 1)).all()


def test_errors_are_means_over_channels_in_colours_that_end_at_the_key(tmp_path: Path) -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    other = np.array([[[0, 0, 0], [96, 0, 96], [128, 128, 128], [255, 255, 255]]], np.uint8)
    colours = error_map(image, other)
    magma = mpl.colormaps["magma"](np.array([0, 0.5, 1, 1]), bytes=True)[:, :3]
    assert (colours[0] == magma).all()
    assert (error_map(other, image) == colours).all()
    figure = figures.reconstructions(collected(tmp_path))
    key = figure.axes[-1]
    assert [tick.get_text() for tick in key.get_xticklabels()] == ["0", "64", "128 and more"]
    assert (key.images[0].get_clim(), key.images[0].get_cmap().name) == ((0, 128), "magma")
    assert "mean of its channels (8-bit levels)" in said(figure)


def test_without_a_picture_there_are_no_errors(tmp_path: Path) -> None:
    figure = figures.reconstructions(collected(tmp_path, "dataset_missing"))
    assert figure.axes == []
    assert "error" not in said(figure)


def test_methods_differ_in_colour_and_in_a_second_cue() -> None:
    for table in ("methods", "reinitialisation", "components", "anchors"):
        path = Path(__file__).parents[2] / "workflows" / "experiments" / f"{table}.yaml"
        names = [row["row"] for row in load_yaml(path, "experiment")["rows"]]
        assert set(names) <= set(STYLES)
        looks = [style(name) for name in names]
        assert len({(look.colour, str(look.dash)) for look in looks}) == len(names)
        if table in ("methods", "reinitialisation"):
            assert len({look.colour for look in looks}) == len(names)
            assert len({look.marker for look in looks}) == len(names)


def test_labels_gather_about_their_mean_and_stay_in_the_panel() -> None:
    np.testing.assert_allclose(spaced([0.1, 0.5, 0.5, 0.5, 0.9], 0.1), [0.1, 0.4, 0.5, 0.6, 0.9])
    np.testing.assert_allclose(spaced([0.0, 0.0, 0.95, 1.0], 0.2), [0, 0.2, 0.8, 1])
    np.testing.assert_allclose(spaced([0.5] * 5, 0.3), [0, 0.25, 0.5, 0.75, 1])
    assert spaced([], 0.1) == []


def test_wrapped_words_fit_and_what_is_cut_says_so() -> None:
    text = "put the archive into " + "/a/very/long/path" * 9 + " and try again"
    for lines_allowed in (1, 3, 20):
        wrapped = wrap(text, 7, 1.5, lines=lines_allowed).split("\n")
        assert len(wrapped) <= lines_allowed
        assert all(width(line, 7) <= 1.5 for line in wrapped)
        assert ("…" in wrapped[-1]) == (lines_allowed < 20)
    assert "".join(wrap(text, 7, 1.5).split()) == "".join(text.split())
