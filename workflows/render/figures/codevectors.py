"""Codevectors among latents in the course of a training, as a figure and as an animation.

Angles are true in a disc, and the radius is a distance on a logarithmic scale, because latents
outgrow the codebook's first values ten thousand times. Within the first codebook it is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from workflows.errors import ConfigError
from workflows.render.captions import short
from workflows.render.collected import Collected
from workflows.render.figures.layout import (
    DOUBLE,
    GREY,
    NOTE,
    TITLE,
    Drawing,
    bare,
    page,
    style,
    words,
)

TABLE = "two_dimensions"
# Of the training; the nearest frame before.
MOMENTS = (0.0, 0.002, 0.05, 0.25, 1.0)
LATENT, UNUSED, RING = "#C4C4C4", "#5A5A5A", "#E4E4E4"
KEPT = 0.999  # of the latents of all frames: a few that are far away would shrink the rest
SCREEN = 130  # dots per inch of the animation
FRAME, LAST = 170, 3000  # milliseconds that a frame is shown
COLOURS = 48
POLAR = {"projection": "polar"}
MARKS = (
    "Dots: codevectors in use; crosses: unused ones; grey: latents. Distances from the origin are "
    "logarithmic, with rings at powers of ten."
)


@dataclass(frozen=True)
class Film:
    """Codevectors among latents: F frames, K codes, M latents.

    step (F,), codebook (F, K, 2), latents (F, M, 2); counts (F, K): hits, of all latents.
    """

    step: np.ndarray
    codebook: np.ndarray
    latents: np.ndarray
    counts: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """How many codes are in use, (F,)."""
        return (self.counts > 0).sum(axis=1)


def read(path: Path) -> Film:
    """Read a film. Raises ConfigError naming a file that is damaged or lacks a tensor."""
    try:
        tensors = load_file(path)
        # In 32 bits, logarithms differ between processors by more than the digits that an SVG has.
        return Film(
            tensors["step"],
            tensors["codebook"].astype(np.float64),
            tensors["latents"].astype(np.float64),
            tensors["counts"],
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigError(f"{path}: damaged ({error})") from error


# Row -> the film of its first seed, or why there is none.
Lines = Mapping[str, Film | str]


class Scale(NamedTuple):
    """unit: the distance from the origin up to which it is linear. far: that of the edge."""

    unit: float
    far: float

    @property
    def rings(self) -> list[float]:
        """The powers of ten between the centre and the edge."""
        low, high = np.log10(2 * self.unit), np.log10(self.far)
        return [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]


def scale_of(films: Iterable[Film]) -> Scale:
    """One for all frames of all films, so that sizes can be compared from frame to frame."""
    units, reaches = [1e-9], [1e-9]
    for film in films:
        units.append(1 / film.counts.shape[1])  # codebooks start within this distance of 0
        distances = np.hypot(film.latents[..., 0], film.latents[..., 1])
        reaches += [float(np.quantile(distances[np.isfinite(distances)], KEPT)), units[-1] * 10]
    return Scale(max(units), max(reaches))


def codevectors(data: Collected) -> Drawing:
    """A line of discs for each method, the moments of a training from left to right."""
    every = {name: _lines(data, name) for name in data.plan.datasets_of(TABLE)}
    heights = [len(lines) for lines in every.values()]
    figure = page(DOUBLE, 1.5 * sum(heights) + 0.3 * len(every) + 0.15, MARKS)
    parts = figure.subfigures(len(every), 1, squeeze=False, height_ratios=heights)
    used = []
    for part, (name, lines) in zip(parts[:, 0], every.items(), strict=True):
        part.suptitle(short(data.plan, name), x=0.01, ha="left", size=TITLE)
        discs = part.subplots(len(lines), len(MOMENTS), squeeze=False, subplot_kw=POLAR)
        steps, scale = _steps(_films(lines)), scale_of(_films(lines))
        for first, (axes, (row, film)) in enumerate(zip(discs, lines.items(), strict=True)):
            for ax in axes:
                bare(ax)
            axes[0].set_ylabel(row, rotation=0, ha="right", va="center")
            if isinstance(film, str):
                words(axes[0], film)
                continue
            for ax, step in zip(axes, steps, strict=False):
                _draw(ax, film, step, scale, row, 1.7)
                if first or ax is not axes[0]:
                    ax.set_yticklabels([])
                if not first:
                    ax.set_title(f"step {step:,}" if step else "before training")
            codes = film.counts.shape[1]
            used += [(name, row, *of, codes) for of in zip(film.step, film.used, strict=True)]
    return Drawing(figure, pd.DataFrame(used, columns=["dataset", "row", "step", "used", "codes"]))


def _lines(data: Collected, dataset: str) -> Lines:
    files = data.first_files(TABLE, dataset, "film.safetensors")
    return {row: file if isinstance(file, str) else read(file) for row, file in files.items()}


def _films(lines: Lines) -> list[Film]:
    return [film for film in lines.values() if isinstance(film, Film)]


def _steps(films: list[Film]) -> list[int]:
    """The steps of the columns: those that every film has, close to the moments."""
    shared = sorted(set.intersection(*({*film.step.tolist()} for film in films))) if films else []
    common = np.array(shared)
    wanted = [common[common <= moment * common[-1]][-1] for moment in MOMENTS if shared]
    return sorted({int(step) for step in wanted})


def _draw(ax: PolarAxes, film: Film, step: int, scale: Scale, row: str, size: float) -> None:
    """A frame in its disc, and below it how many codevectors are in use.

    size: points of a codevector in use.
    """
    # The last frame that is not later.
    frame = max(int(np.searchsorted(film.step, step, side="right")) - 1, 0)
    colour = style(row).colour
    used = film.counts[frame] > 0
    ax.set_rscale("asinh", linear_width=scale.unit)
    ax.set_rlim(0, scale.far)
    names = [f"{ring:g}" for ring in scale.rings]
    box = {"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none"}
    ax.set_rgrids(scale.rings, names, 90, size=NOTE, color=UNUSED, ha="center", bbox=box)
    ax.set_xticks([])
    ax.grid(color=RING, lw=0.6)
    ax.spines["polar"].set(visible=True, color=GREY, lw=0.4)
    beside = film.codebook[frame][~used]
    for points, mark, its_colour, width in (
        (film.latents[frame], "o", LATENT, size * 0.5),
        (beside, "x", UNUSED, size * 1.3),
        (film.codebook[frame][used], "o", colour, size),
    ):
        angles, distances = np.arctan2(points[:, 1], points[:, 0]), np.hypot(*points.T)
        (marks,) = ax.plot(angles, distances, mark, color=its_colour, ms=width)
        marks.set_markeredgewidth(size * 0.25 if mark == "x" else 0)
        # As vectors, fifteen hundred dots a panel make a file that viewers are slow to show.
        marks.set_rasterized(its_colour != colour)
    outside = int((~(np.hypot(*beside.T) <= scale.far)).sum())
    beyond = f", {outside} outside" if outside else ""
    ax.set_xlabel(f"{used.sum()} of {len(used)} used{beyond}")


def animation(data: Collected) -> Iterator[Figure]:
    """A figure for each step that a film shows; one figure of words where there is no film.

    Shows the table's first dataset that has a film. Raises ConfigError for a damaged film.
    """
    every = {name: _lines(data, name) for name in data.plan.datasets_of(TABLE)}
    name = next((name for name, lines in every.items() if _films(lines)), next(iter(every)))
    films, title = _films(every[name]), short(data.plan, name)
    about = f"{title}, validation images. Dots: in use; crosses: not; grey: latents"
    scale = scale_of(films)
    for step in sorted({int(step) for film in films for step in film.step}) or [0]:
        yield _frame(every[name], scale, step, about)


def _frame(lines: Lines, scale: Scale, step: int, about: str) -> Figure:
    """The state after a step."""
    figure = page(2.7 * max(len(lines), 2), 4.3, about)
    grid = figure.add_gridspec(2, len(lines), height_ratios=(4, 1))
    for column, (row, film) in enumerate(lines.items()):
        ax: Any = figure.add_subplot(grid[0, column], **POLAR)
        bare(ax)
        ax.set_title(row, color=style(row).colour)
        if isinstance(film, str):
            ax.text(0.5, 0.5, film, color=GREY, ha="center", transform=ax.transAxes, wrap=True)
        else:
            _draw(ax, film, step, scale, row, 2.6)
    if _films(lines):
        _usage(figure.add_subplot(grid[1, :]), lines, step)
    return figure


def _usage(ax: Axes, lines: Lines, step: int) -> None:
    """How many codes are in use so far."""
    films = _films(lines)
    for row, film in lines.items():
        if isinstance(film, Film):
            kept, colour = film.step <= step, style(row).colour
            ax.plot(film.step[kept], film.used[kept], color=colour, lw=1.2)
            ax.plot(film.step[kept][-1:], film.used[kept][-1:], "o", color=colour, ms=3.5)
    last = max(int(film.step[-1]) for film in films)
    codes = max(film.counts.shape[1] for film in films)
    # Linear up to the first step, so that 0 has a place.
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ax.set_xlim(-0.1, last * 1.15)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.minorticks_off()
    ax.set_ylim(0, codes * 1.06)
    ax.set_yticks([0, codes])
    ax.grid(axis="y")
    ax.set_ylabel("codevectors\nin use")
    ax.set_xlabel(f"training step: {step:,}", size=TITLE)


def gif(figures: Iterable[Figure]) -> bytes:
    """Figures of one size as a GIF that is repeated for ever, with its last frame held.

    All frames have the palette of the first, the middle and the last together: with a palette of
    its own each, a colour would flicker, and what stays the same would be stored again.
    """
    pictures = [_pixels(figure) for figure in figures]
    few = [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
    together = Image.fromarray(np.concatenate([np.asarray(picture) for picture in few]))
    # Its colours are colours of the pictures; those of other methods are means, and white is grey.
    palette = together.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    stream = BytesIO()
    flat[0].save(
        stream,
        format="GIF",
        save_all=True,
        append_images=flat[1:],
        duration=[FRAME] * (len(flat) - 1) + [LAST],
        loop=0,
    )
    return stream.getvalue()


def _pixels(figure: Figure) -> Image.Image:
    figure.set_dpi(SCREEN)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    return Image.fromarray(pixels).convert("RGB")
