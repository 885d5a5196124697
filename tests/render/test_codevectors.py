"""Codevectors among latents: what a panel shows, and films that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image, ImageSequence
from safetensors.numpy import save_file

from tests.render.made import SIZE, collected, film
from tests.render.test_figures import said
from workflows.errors import ConfigError
from workflows.render.figures.codevectors import (
    FRAME,
    LAST,
    UNUSED,
    animation,
    codevectors,
    gif,
    read,
    scale_of,
)
from workflows.render.figures.layout import style

CELL = "digits/vq_vae/D2/seed0"


def test_a_panel_shows_latents_used_and_unused_codevectors(tmp_path: Path) -> None:
    figure, numbers = codevectors(collected(tmp_path, datasets=("digits",)))
    # Five moments, of which the second is before the first step; two methods.
    panels = [ax for ax in figure.axes if ax.lines]
    assert len(panels) == 2 * 4
    for index, ax in enumerate(panels):
        latents, unused, used = ax.lines
        assert len(np.asarray(used.get_xdata())) == 4
        assert len(np.asarray(unused.get_xdata())) == SIZE - 4
        assert len(np.asarray(latents.get_xdata())) == 40
        colour = style("VQ-VAE" if index < 4 else "CVQ-VAE").colour
        assert to_hex(used.get_color()) == colour.lower()
        assert (unused.get_marker(), to_hex(unused.get_color())) == ("x", UNUSED.lower())
        # Linear within the first codebook, and one scale for all.
        assert ax.get_yscale() == "asinh"
        assert ax.yaxis.get_transform().linear_width == 1 / SIZE
        assert ax.get_ylim() == panels[0].get_ylim()
    # Codevectors lie where they are: at an angle, and at a distance from the origin.
    angle, distance = (np.asarray(of) for of in panels[0].lines[2].get_data())
    points = read(tmp_path / CELL / "film.safetensors").codebook[0, :4]
    drawn = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
    np.testing.assert_allclose(drawn, points)
    text = said(figure)
    for words in ("before training", "step 1 ", "step 10", "step 100", "4 of 16 used"):
        assert words in text
    assert [ring.get_text() for ring in panels[0].get_yticklabels()] == ["1", "10"]
    assert numbers.query("row == 'CVQ-VAE'")["used"].tolist() == [4, 4, 4, 4]


def test_the_scale_reaches_nearly_all_latents(tmp_path: Path) -> None:
    film(tmp_path / "film")
    found = read(tmp_path / "film")
    scale = scale_of([found])
    distances = np.hypot(found.latents[..., 0], found.latents[..., 1])
    assert scale.unit == 1 / SIZE
    assert scale.far == pytest.approx(np.quantile(distances, 0.999))
    assert scale.rings == [1.0, 10.0]


def test_unused_codevectors_outside_are_counted(tmp_path: Path) -> None:
    data = collected(tmp_path, datasets=("digits",))
    file = tmp_path / CELL / "film.safetensors"
    codebook = read(file).codebook.copy()
    codebook[-1, 10:13] = 1e6
    film(file, codebook=codebook)
    assert "4 of 16 used, 3 outside" in said(codevectors(data).figure)


def test_a_run_without_a_film_says_why(tmp_path: Path) -> None:
    data = collected(tmp_path, bad=("digits/cvq_vae/D2", "patches/cvq_vae/D2"))
    (tmp_path / CELL / "film.safetensors").unlink()
    text = said(codevectors(data).figure)
    assert "diverged: last good step 7" in text
    assert "not measured" in text
    # Films of the second dataset are still shown.
    (first, *_) = frames = list(animation(data))
    assert len(frames) == 4
    assert "CIFAR10 stand-in" in said(first)
    assert "diverged: last good step 7" in said(first)
    for file in tmp_path.rglob("film.safetensors"):
        file.unlink()
    (only,) = animation(data)
    assert "not measured" in said(only)
    assert said(codevectors(data).figure).count("not measured") == 2


def test_a_damaged_film_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"cut off")
    save_file({"step": np.zeros(1)}, tmp_path / "lacking")
    for name in ("cut", "lacking"):
        with pytest.raises(ConfigError, match=rf"{name}: damaged"):
            read(tmp_path / name)


def test_the_animation_says_step_and_usage_and_holds_its_last_frame(tmp_path: Path) -> None:
    data = collected(tmp_path, datasets=("digits",))
    frames = list(animation(data))
    for frame, step in zip(frames, (0, 1, 10, 100), strict=True):
        assert f"training step: {step}" in said(frame)
        assert said(frame).count("4 of 16 used") == 2
    (tmp_path / "one.gif").write_bytes(gif(frames))
    with Image.open(tmp_path / "one.gif") as picture:
        assert picture.info["loop"] == 0
        shown = [(f.info["duration"], f.convert("RGB")) for f in ImageSequence.Iterator(picture)]
    assert [duration for duration, _ in shown] == [FRAME, FRAME, FRAME, LAST]
    assert all(pixels.getpixel((0, 0)) == (255, 255, 255) for _, pixels in shown)
    # Colours survive the palette.
    assert any(pixel[1][0] > 150 and pixel[1][2] < 60 for pixel in shown[-1][1].getcolors(9999))
