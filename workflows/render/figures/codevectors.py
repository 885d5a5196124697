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
    encoded,
    page,
    style,
    words,
)

TABLE = "two_dimensions"
# Fractions of the training. The figure shows the last frame before each of them.
MOMENTS = (0.0, 0.002, 0.05, 0.25, 1.0)
LATENT, UNUSED, RING = "#C4C4C4", "#5A5A5A", "#E4E4E4"
KEPT = 0.999  # fraction of the latents in a disc: the few that are farther would shrink the rest
SCREEN = 130  # dots per inch of the animation
FRAME, LAST = 170, 3000  # milliseconds that a frame and the last frame are shown
COLOURS = 48
POLAR = {"projection": "polar"}
MARKS = (
    "Dots: codevectors in use; crosses: unused ones; grey: latents. Distances from the origin are "
    "logarithmic, with rings at powers of ten."
)


@dataclass(frozen=True)
class Film:
    """Codevectors among latents: F frames, K codes, M latents.

    step (F,), codebook (F, K, 2), latents (F, M, 2). counts (F, K): how many of all latents hit a
    code.
    """

    step: np.ndarray
    codebook: np.ndarray
    latents: np.ndarray
    counts: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """The number of codes in use, (F,)."""
        return (self.counts > 0).sum(axis=1)


# Row -> the film of its first seed, or why there is none.
Films = Mapping[str, Film | str]


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


def _read_all(data: Collected) -> dict[str, Films]:
    """Return the films of each dataset of the table."""
    return {
        dataset: {
            row: file if isinstance(file, str) else read(file)
            for row, file in data.first_files(TABLE, dataset, "film.safetensors").items()
        }
        for dataset in data.plan.datasets_of(TABLE)
    }


def _existing(films: Films) -> list[Film]:
    return [film for film in films.values() if isinstance(film, Film)]


class Scale(NamedTuple):
    """The radius of a disc: linear up to the distance `unit` from the origin, then logarithmic up
    to the distance `far` of the edge.
    """

    unit: float
    far: float

    @property
    def rings(self) -> list[float]:
        """The powers of ten between the centre and the edge."""
        low, high = np.log10(2 * self.unit), np.log10(self.far)
        return [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]


def scale_of(films: Iterable[Film]) -> Scale:
    """Return a scale for all frames of all films, so that their distances can be compared."""
    unit, far = 1e-9, 1e-9
    for film in films:
        # Codebooks start within this distance of the origin.
        unit = max(unit, 1 / film.counts.shape[1])
        distances = np.hypot(film.latents[..., 0], film.latents[..., 1])
        far = max(far, float(np.quantile(distances[np.isfinite(distances)], KEPT)), 10 * unit)
    return Scale(unit, far)


def codevectors(data: Collected) -> Drawing:
    """A line of discs for each method, the moments of a training from left to right."""
    films_of = _read_all(data)
    heights = [len(films) for films in films_of.values()]
    figure = page(DOUBLE, 1.5 * sum(heights) + 0.3 * len(films_of) + 0.15, MARKS)
    parts = figure.subfigures(len(films_of), 1, squeeze=False, height_ratios=heights)
    numbers = []
    for part, (dataset, films) in zip(parts[:, 0], films_of.items(), strict=True):
        part.suptitle(short(data.plan, dataset), x=0.01, ha="left", size=TITLE)
        discs = part.subplots(len(films), len(MOMENTS), squeeze=False, subplot_kw=POLAR)
        steps, scale = _shared_steps(_existing(films)), scale_of(_existing(films))
        for ax in discs.flat:
            bare(ax)
        for ax, step in zip(discs[0], steps, strict=False):
            ax.set_title(f"step {step:,}" if step else "before training")
        for index, (axes, (row, film)) in enumerate(zip(discs, films.items(), strict=True)):
            axes[0].set_ylabel(row, rotation=0, ha="right", va="center")
            if isinstance(film, str):
                words(axes[0], film)
                continue
            for ax, step in zip(axes, steps, strict=False):
                _draw_frame(ax, film, step, scale, row, 1.7)
                if index or ax is not axes[0]:
                    ax.set_yticklabels([])
            codes = film.counts.shape[1]
            numbers += [(dataset, row, *of, codes) for of in zip(film.step, film.used, strict=True)]
    columns = ["dataset", "row", "step", "used", "codes"]
    return Drawing(figure, pd.DataFrame(numbers, columns=columns))


def _shared_steps(films: list[Film]) -> list[int]:
    """Return the steps of the columns: the last step before each moment that every film has."""
    if not films:
        return []
    steps = np.array(sorted(set.intersection(*({*film.step.tolist()} for film in films))))
    return sorted({int(steps[steps <= moment * steps[-1]][-1]) for moment in MOMENTS})


def _draw_frame(ax: PolarAxes, film: Film, step: int, scale: Scale, row: str, size: float) -> None:
    """Draw the last frame up to a step in a disc, and write below how many codevectors are in use.

    size: the diameter of a codevector in use, in points.
    """
    frame = max(int(np.searchsorted(film.step, step, side="right")) - 1, 0)
    ax.set_rscale("asinh", linear_width=scale.unit)
    ax.set_rlim(0, scale.far)
    names = [f"{ring:g}" for ring in scale.rings]
    box = {"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none"}
    ax.set_rgrids(scale.rings, names, 90, size=NOTE, color=UNUSED, ha="center", bbox=box)
    ax.set_xticks([])
    ax.grid(color=RING, lw=0.6)
    ax.spines["polar"].set(visible=True, color=GREY, lw=0.4)
    used = film.counts[frame] > 0
    unused = film.codebook[frame][~used]
    # As vectors, fifteen hundred latents in a panel make a file that viewers are slow to show.
    _plot(ax, film.latents[frame], "o", c=LATENT, ms=size * 0.5, mew=0, rasterized=True)
    _plot(ax, unused, "x", c=UNUSED, ms=size * 1.3, mew=size * 0.25, rasterized=True)
    _plot(ax, film.codebook[frame][used], "o", c=style(row).colour, ms=size, mew=0)
    outside = int((~(np.hypot(*unused.T) <= scale.far)).sum())
    beyond = f", {outside} outside" if outside else ""
    ax.set_xlabel(f"{used.sum()} of {len(used)} used{beyond}")


def _plot(ax: PolarAxes, points: np.ndarray, marker: str, **look: Any) -> None:
    ax.plot(np.arctan2(points[:, 1], points[:, 0]), np.hypot(*points.T), marker, **look)


def animation(data: Collected) -> Iterator[Figure]:
    """Yield a figure for each filmed step of the table's first dataset that has a film.

    Without any film, yields one figure that says why. Raises ConfigError for a damaged film.
    """
    films_of = _read_all(data)
    filmed = [dataset for dataset, films in films_of.items() if _existing(films)]
    dataset = [*filmed, *films_of][0]
    films = films_of[dataset]
    title = short(data.plan, dataset)
    caption = f"{title}, validation images. Dots: in use; crosses: not; grey: latents"
    scale = scale_of(_existing(films))
    for step in sorted({int(step) for film in _existing(films) for step in film.step}) or [0]:
        yield _draw_step(films, scale, step, caption)


def _draw_step(films: Films, scale: Scale, step: int, caption: str) -> Figure:
    """Draw a disc for each row after a step, and below them the usage up to that step."""
    figure = page(2.7 * max(len(films), 2), 4.3, caption)
    grid = figure.add_gridspec(2, len(films), height_ratios=(4, 1))
    for column, (row, film) in enumerate(films.items()):
        ax: Any = figure.add_subplot(grid[0, column], **POLAR)
        bare(ax)
        ax.set_title(row, color=style(row).colour)
        if isinstance(film, str):
            ax.text(0.5, 0.5, film, color=GREY, ha="center", transform=ax.transAxes, wrap=True)
        else:
            _draw_frame(ax, film, step, scale, row, 2.6)
    if _existing(films):
        _draw_usage(figure.add_subplot(grid[1, :]), films, step)
    return figure


def _draw_usage(ax: Axes, films: Films, step: int) -> None:
    """Draw how many codevectors were in use up to a step."""
    last, codes = 0, 0
    for row, film in films.items():
        if isinstance(film, Film):
            past, colour = film.step <= step, style(row).colour
            ax.plot(film.step[past], film.used[past], color=colour, lw=1.2)
            ax.plot(film.step[past][-1:], film.used[past][-1:], "o", color=colour, ms=3.5)
            last, codes = max(last, int(film.step[-1])), max(codes, film.counts.shape[1])
    # The axis is linear up to the first step, so that step 0 has a place.
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
    """Return figures of one size as a GIF that repeats for ever and holds its last frame.

    All frames share the palette of the last. With a palette for each frame, colours would flicker
    and unchanged parts would be stored again.
    """
    pictures = (Image.open(BytesIO(encoded(figure, "png", SCREEN))) for figure in figures)
    frames = [picture.convert("RGB") for picture in pictures]
    # MAXCOVERAGE takes colours of the frame; other methods take means, which turn white into grey.
    palette = frames[-1].quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
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
