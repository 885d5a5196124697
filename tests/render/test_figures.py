"""Figures from made-up measurements: what they show, and that it can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
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
from tests.render.made import BAD, METHODS, SIZE, collected, holding, write_all
from workflows.config.experiments import Experiment, Figures
from workflows.config.grid import ROOM
from workflows.config.reading import read_yaml
from workflows.render.collected import Collected
from workflows.render.figures import DRAWN, cells
from workflows.render.figures.images import neighbours, samples
from workflows.render.figures.layout import NOTE, STYLES, Drawing, style
from workflows.render.figures.lines import progress

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEPT_BY = ("dimensionality", "codebook_size")
LINES = (*SWEPT_BY, "training_length", "training_curves", "code_histograms")
NAMES = (*LINES, "cosine_loss", "reconstructions", "codevectors")


def draw(name: str, data: Collected) -> Drawing:
    return DRAWN[name](data)


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


def line(axes, label: str) -> Line2D:
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


def crosses(axes) -> list[float]:
    """Where the failed runs' crosses are."""
    drawn = [one for one in axes.lines if one.get_marker() == "x"]
    return [float(np.asarray(cross.get_xdata())[0]) for cross in drawn]


def legible(figure: Figure, found: Iterable[Text]) -> None:
    """No letter is too small or outside of the figure; what a panel cuts has no layout."""
    for text in found:
        assert text.get_fontsize() >= NOTE
        if text.get_in_layout():
            box = Text.get_window_extent(text)
            assert figure.bbox.x0 - 1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= box.y0 <= box.y1 <= figure.bbox.y1 + 1, text


@pytest.mark.parametrize("name", [*NAMES, "usage_quality", "seconds_quality"])
def test_words_are_legible_and_say_budget_and_datasets(name: str, tmp_path: Path) -> None:
    bad = ("digits/sq_vae", "patches/cvq_vae/default/seed1")
    drawing = draw(name, collected(tmp_path, seeds=(0, 1, 2), bad=bad))
    legible(drawing.figure, words(drawing.figure))
    text = said(drawing.figure)
    assert "MNIST stand-in" in text
    assert "CIFAR10 stand-in" in text
    caption = drawing.figure.get_supxlabel()
    assert caption
    assert "\n" not in caption
    if name in LINES:
        means = "mean of up to 3 seeds, band: lowest to highest"
        assert caption == f"Budget made_up; {means}; ×: diverged."
    assert len(drawing.numbers)
    assert drawing.numbers["dataset"].isin(["digits", "patches"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_is_a_figure_that_says_why(name: str, tmp_path: Path) -> None:
    drawing = draw(name, collected(tmp_path, "dataset_missing", datasets=("digits",)))
    legible(drawing.figure, words(drawing.figure))
    assert "dataset missing: last good step 7" in said(drawing.figure)
    assert drawing.numbers.empty


def test_a_figure_is_the_same_file_in_another_process_and_on_another_processor(
    tmp_path: Path,
) -> None:
    """The other process may use neither wide registers nor a second thread."""
    program = (
        "import sys; from pathlib import Path; from tests.render.made import write_all;"
        "write_all(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    write_all(tmp_path / "cells", tmp_path / "one")
    plain = {
        "PYTHONHASHSEED": "7",
        "OMP_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    }
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path / "cells", tmp_path / "two"],
        cwd=ROOT,
        env={**os.environ, **plain},
        check=True,
    )
    names = {path.name for path in (tmp_path / "one").iterdir()}
    kinds = ("svg", "png", "csv")
    assert names == {f"{name}.{kind}" for name in NAMES for kind in kinds} | {"codevectors.gif"}
    for name in names:
        one, two = ((tmp_path / out / name).read_bytes() for out in ("one", "two"))
        assert one == two, name


def test_a_dollar_in_a_name_begins_no_formula(tmp_path: Path) -> None:
    data = collected(tmp_path, bad=("digits/sq_vae", "digits/cvq_vae"))
    measured = data.measured.assign(note="the $a_$ is nan")
    figure = draw("reconstructions", replace(data, measured=measured)).figure
    assert "the $a_$ is nan" in said(figure)


@pytest.mark.parametrize("name", SWEPT_BY)
def test_a_failed_run_leaves_a_cross_at_its_place_and_a_gap(name: str, tmp_path: Path) -> None:
    figure = draw(name, collected(tmp_path, bad=(BAD, BAD.replace("D8", "K8")))).figure
    for index, ax in enumerate(figure.axes):
        # The panels alternate between two datasets, of which the second has no failure.
        assert crosses(ax) == ([8.0] if index % 2 == 0 else [])
        drawn = np.asarray(line(ax, "SQ-VAE").get_ydata(), float)
        assert list(np.isnan(drawn)) == [False, index % 2 == 0, False]


@pytest.mark.parametrize("name", LINES[3:])
def test_a_row_that_failed_keeps_its_name_with_a_cross(name: str, tmp_path: Path) -> None:
    figure = draw(name, collected(tmp_path, bad=("digits/sq_vae", "patches/sq_vae"))).figure
    assert len(crosses(figure.axes[0])) == 1
    (legend,) = figure.legends
    # Curves of a training that diverged are drawn to where it broke off.
    expected = "SQ-VAE" if name == "training_curves" else "× SQ-VAE"
    assert expected in [text.get_text() for text in legend.get_texts()]


def test_a_run_of_other_settings_leaves_no_cross(tmp_path: Path) -> None:
    data = collected(tmp_path, bad=("digits/sq_vae",))
    old = data.measured.replace({"status": {"diverged": "outdated"}})
    curves = data.curves[~data.curves["cell"].str.startswith("digits/sq_vae")]
    data = replace(data, measured=old, curves=curves)
    for name in LINES:
        figure = draw(name, data).figure
        assert [crosses(ax) for ax in figure.axes] == [[]] * len(figure.axes)
        assert "diverged" not in figure.get_supxlabel()


def test_a_sweep_has_ticks_at_the_tested_values_and_areas_in_proportion(tmp_path: Path) -> None:
    ax = draw("dimensionality", collected(tmp_path, bad=())).figure.axes[0]
    assert ax.get_ylabel() == "rFID (N = 64)"
    assert list(ax.get_xticks()) == [4, 8, 32]
    marks = [found for found in ax.collections if isinstance(found, PathCollection)]
    assert len(marks) == 3
    for found in marks:
        np.testing.assert_allclose(found.get_sizes() / found.get_sizes()[0], [1, 2, 8])


def test_a_sweep_of_seeds_shows_mean_lowest_and_highest(tmp_path: Path) -> None:
    drawing = draw("codebook_size", collected(tmp_path, seeds=(0, 1, 2)))
    ax = drawing.figure.axes[0]
    np.testing.assert_allclose(line(ax, "CVQ-VAE").get_ydata(), 330)
    band = ax.collections[0].get_datalim(ax.transData)
    np.testing.assert_allclose([band.y0, band.y1], [300, 360])
    numbers = drawing.numbers.query("quantity == 'rFID'")[["mean", "low", "high"]]
    np.testing.assert_allclose(numbers.iloc[0], [330, 300, 360])


def test_curves_are_the_mean_of_the_seeds_that_finished(tmp_path: Path) -> None:
    bad = ("digits/sq_vae/default/seed0", "digits/sq_vae/default/seed2")
    ax = draw("training_curves", collected(tmp_path, seeds=(0, 1, 2), bad=bad)).figure.axes[0]
    # Of the records that all seeds have.
    np.testing.assert_allclose(line(ax, "CVQ-VAE").get_xdata(), np.arange(1, 6) / 2)
    np.testing.assert_allclose(line(ax, "CVQ-VAE").get_ydata(), np.arange(1, 6) + 1)
    band = ax.collections[0].get_datalim(ax.transData)
    np.testing.assert_allclose([band.y0, band.y1], [1, 7])
    np.testing.assert_allclose(line(ax, "SQ-VAE").get_ydata(), np.arange(1, 7) + 1)
    # Where they broke off.
    assert crosses(ax) == [2.5, 3.5]


@pytest.mark.parametrize(
    ("steps_an_epoch", "label", "ticks"),
    [(2, "epoch", [0, 1, 2]), (3, "training step", [0, 1, 2, 3, 4, 5])],
)
def test_whole_epochs_are_counted_and_steps_below_two(
    steps_an_epoch: int, label: str, ticks: list[int], tmp_path: Path
) -> None:
    data = collected(tmp_path, steps_an_epoch=steps_an_epoch)
    bottom = draw("training_curves", data).figure.axes[2]
    assert (bottom.get_xlabel(), bottom.get_ylabel()) == (label, "validation perplexity")
    low, high = bottom.get_xlim()
    assert [tick for tick in bottom.get_xticks() if low <= tick <= high] == ticks


def test_a_histogram_is_the_mean_of_sorted_frequencies_out_of_all_codes(tmp_path: Path) -> None:
    ax = draw("code_histograms", collected(tmp_path, seeds=(0, 1))).figure.axes[0]
    counts = [np.where(np.arange(SIZE) < 2 + seed, 0, 2.0 ** np.arange(SIZE)) for seed in (0, 1)]
    mean = np.mean([np.sort(some)[::-1] / some.sum() for some in counts], axis=0)
    np.testing.assert_allclose(line(ax, "CVQ-VAE").get_ydata(), mean[mean > 0])
    assert list(line(ax, "CVQ-VAE").get_xdata()) == list(range(1, 15))
    assert SIZE in ax.get_xticks()
    assert ax.get_xlim()[1] >= SIZE
    assert f"uniform: 1/{SIZE}" in [text.get_text() for text in ax.texts]


def test_reconstructions_are_the_first_seeds_pixels_with_their_errors(tmp_path: Path) -> None:
    data = collected(tmp_path, seeds=(4, 5), bad=("digits/sq_vae/default/seed4",))
    figure, numbers = draw("reconstructions", data)
    assert "seed 4." in figure.get_supxlabel()
    assert "diverged: last good step 7" in said(figure)
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
    errors = numbers.query("row == 'VQ-VAE (l2)'")["error"]
    assert errors.iloc[0] == pytest.approx(np.abs(first - made).mean())


def test_every_measured_cell_is_a_point_once(tmp_path: Path) -> None:
    data = collected(tmp_path, seeds=(0, 1))
    figure, numbers = draw("usage_quality", data)
    assert set(numbers["cell"]) == data.finished
    assert numbers["cell"].is_unique
    one = numbers.set_index("cell").loc["digits/cvq_vae/default/seed1"]
    assert (one["usage"], one["rFID"]) == (pytest.approx(55), pytest.approx(330))
    assert sum(len(dots.get_xdata()) for ax in figure.axes for dots in ax.lines) == len(numbers)
    figure, numbers = draw("seconds_quality", data)
    assert numbers["minutes"].tolist() == [1.5] * len(data.finished)


def test_the_page_of_a_cell_without_codes_has_no_curves_of_codes(tmp_path: Path) -> None:
    data, name = collected(tmp_path), "digits/cvq_vae/default/seed0"
    assert len(cells.curves(data, name, (), "CVQ-VAE").axes) == 3
    data.plan.cells[name] = plans.cell(method="autoencoder")
    assert len(cells.curves(data, name, (), "CVQ-VAE").axes) == 1


def test_every_figure_is_drawn_and_described() -> None:
    assert set(read_yaml(ROOM / "figures.yaml", Figures).root) == set(DRAWN)


def test_lengths_count_in_images_beside_the_published_number(tmp_path: Path) -> None:
    figure = draw("training_length", collected(tmp_path, seeds=(0, 1))).figure
    psnr, rfid = figure.axes[1], figure.axes[3]
    # 16 images, seen in 1, 2 and 8 epochs.
    assert list(line(psnr, "CVQ-VAE").get_xdata()) == [16, 32, 128]
    assert [text.get_text() for text in psnr.texts] == ["CVQ-VAE + contrastive, published: 24.72"]
    np.testing.assert_allclose(psnr.lines[-1].get_ydata(), 24.72)
    # An rFID of 64 images stands beside no published one.
    assert not rfid.texts


def test_the_loss_is_drawn_by_distance(tmp_path: Path) -> None:
    loss = draw("cosine_loss", collected(tmp_path)).figure.axes[0]
    shown = {line.get_label() for line in loss.lines if not line.get_label().startswith("_")}
    assert shown == {"VQ-VAE (l2)", "CVQ-VAE"}
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 0.5 ** np.arange(1, 6))
    assert loss.get_yscale() == "log"


def test_lengths_of_codevectors_are_drawn_where_logs_have_them(tmp_path: Path) -> None:
    data = collected(tmp_path)
    rows = len(draw("cosine_loss", data).figure.axes)
    data.curves["codevector_length"] = 2.5
    labels = [ax.get_ylabel() for ax in draw("cosine_loss", data).figure.axes]
    assert labels.count("codevector length") == len(labels) - rows == rows / 2


def test_codebooks_on_frozen_latents_are_lines_over_their_sizes() -> None:
    values = {512: {"usage": 0.5, "error": 0.25}, 4096: {"usage": 0.1, "error": 2.0}}
    sizes = {f"VQ-VAE (l2), K = {size}": size for size in values}
    cells = {row: plans.cell(codebook_size=size, dataset="d") for row, size in sizes.items()}
    plan = plans.plan(cells, [("frozen_latents", row, row) for row in sizes])
    measured = plans.measured(plan, lambda line: values[sizes[line.row]])
    usage, error = draw("frozen_latents", holding(plan, measured)).figure.axes
    assert list(usage.lines[0].get_xdata()) == [512, 4096]
    np.testing.assert_allclose(usage.lines[0].get_ydata(), [50, 10])
    np.testing.assert_allclose(error.lines[0].get_ydata(), [0.25, 2.0])
    assert error.get_ylabel() == "error (of variance)"


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


# Of diffusion models.


def generated(distances: list[float]) -> Collected:
    """Of one run, whose distance was looked at once an epoch."""
    cell = "digits/ldm/vq_vae/seed0"
    plan = plans.plan(
        {cell: plans.cell(cell, method="ldm", batch_size=64)},
        [("generation", "LDM", cell)],
        tables={"generation": plans.table(["LDM"], stage=2)},
        progress_samples=1024,
    )
    measured = plans.measured(plan, lambda _: {"FID": 9.0}, seconds=120.0, images=4096)
    curves = [{"cell": cell, "epoch": n, "step": n, "FID": d} for n, d in enumerate(distances)]
    return holding(plan, measured if curves else measured.head(0), curves=curves)


def test_the_distance_is_drawn_from_noise_on_and_not_dwarfed_by_noise() -> None:
    (ax,) = progress(generated([470.0, 120.0, 90.0]), "generation").figure.axes
    drawn = line(ax, "LDM")
    assert list(drawn.get_xdata()) == [0, 1, 2]
    assert list(drawn.get_ydata()) == [470, 120, 90]
    assert (ax.get_ylabel(), ax.get_yscale()) == ("FID (N = 1,024)", "log")
    low, high = ax.get_ylim()
    assert low < 90 < 470 < high
    shown = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert shown == [100, 150, 200, 300, 500]


def test_samples_are_drawn_against_the_minutes_of_their_model() -> None:
    drawing = DRAWN["seconds_samples"](generated([90.0]))
    (ax,) = drawing.figure.axes
    (point,) = ax.lines
    assert (point.get_label(), *point.get_xydata().tolist()) == ("LDM", [2.0, 9.0])
    assert ax.get_ylabel() == "FID (N = 4,096)"
    assert drawing.numbers[["row", "minutes", "FID"]].to_numpy().tolist() == [["LDM", 2.0, 9.0]]


def test_a_figure_of_nothing_has_no_numbers() -> None:
    for drawn in (samples, neighbours, progress):
        assert drawn(generated([]), "generation").numbers.empty


@pytest.mark.parametrize("name", LINES)
def test_a_dataset_without_numbers_is_named_below_and_takes_no_room(
    name: str, tmp_path: Path
) -> None:
    data = collected(tmp_path, bad=())
    of = {cell: about.dataset for cell, about in data.plan.cells.items()}
    parts = {name: getattr(data, name) for name in ("measured", "curves", "codes")}
    kept = {name: frame[frame["cell"].map(of) == "patches"] for name, frame in parts.items()}
    figure = draw(name, replace(data, **kept)).figure
    titles = {ax.get_title(loc="left") for ax in figure.axes} - {""}
    assert titles == {"CIFAR10 stand-in"}
    (caption,) = (text.get_text() for text in figure.texts if "Budget" in text.get_text())
    assert "; MNIST stand-in, no measurements" in caption
