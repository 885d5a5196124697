"""The films of two trainings side by side, a figure for each frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflows.render import plane
from workflows.render.codevectors import shown
from workflows.render.collected import MISSING, Collected
from workflows.render.films import Film
from workflows.render.lettering import height, wrap
from workflows.render.notes import budget
from workflows.render.panels import EDGE, Page, broken, room_below, small_print
from workflows.render.style import AXIS, GREY, LABEL, TITLE, ink, style
from workflows.render.tiles import Corner

TABLE = "two_dimensions"
SIDE, GAP, SIZE = 2.5, 0.15, 2.6  # inches of a disc and between two; points of a codevector
CURVES, LEFT, BELOW = 0.75, 0.55, 0.36  # inches: the panel of usage, its labels beside and below
MARKS = (
    "Dots: codevectors in use; crosses: unused ones; grey: latents. Distances from the origin are "
    "on a logarithmic scale, with rings at powers of ten."
)
Lines = Mapping[str, Film | str]


def animation(data: Collected) -> Iterator[Figure]:
    """A figure for each step that a film shows; one figure of words where there is no film.

    Of the table's first dataset that has a film. Raises ConfigError for a damaged film.
    """
    found: Lines = {}
    name = ""
    for dataset in reversed(data.datasets(TABLE)):
        lines = shown(data, dataset)
        if not found or any(isinstance(film, Film) for film in lines.values()):
            found, name = lines, dataset
    films = [film for film in found.values() if isinstance(film, Film)]
    steps = sorted({int(step) for film in films for step in film.step})
    about = f"{data.plan.dataset_title(name)}, validation images" if name else MISSING
    words = budget(data, TABLE, [name] if name else data.datasets(TABLE))
    for step in steps or [0]:
        yield _figure(found, step, [words, f"{about}. {MARKS}"])


def _figure(lines: Lines, step: int, notes: list[str]) -> Figure:
    """The state after a step."""
    wide = max(len(lines), 2) * (SIDE + GAP) - GAP + 2 * EDGE
    text = broken(notes, wide)
    head = 2 * height(1, TITLE) + 0.08
    tall = head + SIDE + 0.12 + CURVES + BELOW + room_below(text)
    figure = Page(wide, tall).figure()
    small_print(figure, text)
    size = figure.get_size_inches()
    films = {row: film for row, film in lines.items() if isinstance(film, Film)}
    scale = plane.scale(films.values())
    for column, (row, film) in enumerate(lines.items()):
        left = EDGE + (SIDE + GAP) * column
        corner = Corner(figure, left, 0)
        middle = {"ha": "center", "va": "top"}
        if isinstance(film, str):
            corner.write(SIDE / 2, 0.04, row, TITLE, **middle)
            words = wrap(film, LABEL, SIDE - 0.2)
            corner.write(SIDE / 2, head + SIDE / 2, words, LABEL, color=GREY, ha="center")
            continue
        box = (left / size[0], 1 - (head + SIDE) / size[1], SIDE / size[0], SIDE / size[1])
        ax = figure.add_axes(box)
        plane.disc(ax, scale, labels=True)
        frame = film.at(step)
        words = plane.usage(frame, plane.draw(ax, frame, scale, style(row).colour, SIZE))
        corner.write(SIDE / 2, 0.04, row, TITLE, color=ink(style(row).colour), **middle)
        corner.write(SIDE / 2, 0.04 + height(1, TITLE), words, LABEL, **middle)
    if films:
        bottom = room_below(text) + BELOW
        box = (LEFT / size[0], bottom / size[1], 1 - (LEFT + 0.1) / size[0], CURVES / size[1])
        _curves(figure.add_axes(box), films, step)
    return figure


def _curves(ax: Axes, films: Mapping[str, Film], step: int) -> None:
    """How many codes are in use so far."""
    last = max(int(film.step[-1]) for film in films.values())
    for row, film in films.items():
        kept = film.step <= step
        look = style(row)
        ax.plot(film.step[kept], film.used[kept], color=look.colour, lw=1.2)
        ax.plot(film.step[kept][-1:], film.used[kept][-1:], "o", color=look.colour, ms=3.5)
    codes = max(film.codes for film in films.values())
    # Linear up to the first step, so that 0 has a place.
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ax.set_xlim(-0.1, last * 1.15)
    ticks = [0, *(10**power for power in range(int(np.log10(max(last, 1))) + 1))]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(0, codes * 1.06)
    ax.set_yticks([0, codes])
    ax.grid(axis="y")
    ax.set_ylabel("codevectors\nin use", size=AXIS)
    ax.set_xlabel(f"training step: {step:,}", size=TITLE)
