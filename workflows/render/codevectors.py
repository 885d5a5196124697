"""Where codevectors lie among the latents in the course of a training, and which are used."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from workflows.render import films, plane
from workflows.render.collected import Collected
from workflows.render.films import Film
from workflows.render.lettering import height, width, wrap
from workflows.render.notes import budget, numbered, seeds_planned
from workflows.render.panels import DOUBLE, EDGE, Page, broken, room_below, small_print, title
from workflows.render.style import GREY, LABEL, TITLE, style
from workflows.render.tiles import Corner

TABLE = "two_dimensions"
# Of the training; the nearest frame before.
MOMENTS = (0.0, 0.002, 0.05, 0.25, 1.0)
NOTHING = 3 * height(1, LABEL) + 0.1  # of words in the place of a dataset's panels
TALL = 6.3  # inches of panels: with the words about them, three datasets fit a page
GAP, SIZE = 0.06, 1.7  # inches between panels; points of a codevector
HEAD = height(1, LABEL) + 0.05  # a line of text and what is free below it
WORDS = "codevector in use", "unused codevector", "latent"


def shown(data: Collected, dataset: str) -> dict[str, Film | str]:
    """Row -> the film of its first seed, or why there is none. Raises ConfigError."""
    found: dict[str, Film | str] = {}
    for runs in data.runs(TABLE, dataset):
        first = data.plan.rows_of(TABLE, dataset)[runs.row][0]
        path = data.film(first)
        if first in runs.failed or path is None:
            found[runs.row] = runs.failed.get(first, "not measured")
        else:
            found[runs.row] = films.read(path)
    return found


def steps(some: list[Film]) -> list[int]:
    """The steps of the columns: those that every film has, close to the moments."""
    common = np.array(sorted(set.intersection(*(set(film.step.tolist()) for film in some))))
    wanted = [common[common <= moment * common[-1]][-1] for moment in MOMENTS]
    return sorted(set(map(int, wanted)))


def codevectors(data: Collected) -> Figure:
    """A line of discs for each method, the moments of a training from left to right."""
    datasets = data.datasets(TABLE)
    lines = {name: shown(data, name) for name in datasets}
    rows = list(dict.fromkeys(row for some in lines.values() for row in some))
    left = max((width(row, LABEL) for row in rows), default=0) + 0.12
    count = sum(len(some) for some in lines.values())
    side = min((DOUBLE - left - EDGE) / len(MOMENTS) - GAP, TALL / max(count, 1))
    titles = [title(data.plan, name, DOUBLE - left) for name in datasets]
    head = height(max((text.count("\n") for text in titles), default=0) + 1, TITLE) + 0.06
    bodies = [
        HEAD + (side + HEAD) * len(some) if _films(some) else NOTHING for some in lines.values()
    ]
    text = broken(notes(data, [f for some in lines.values() for f in _films(some)]), DOUBLE)
    key = height(1, LABEL) + 0.12
    tall = head * len(datasets) + sum(bodies) + key + room_below(text)
    figure = Page(DOUBLE, tall).figure()
    small_print(figure, text)
    if rows:
        _key(figure, rows, EDGE + room_below(text))
    for index, name in enumerate(datasets):
        top = head * (index + 1) + sum(bodies[:index])
        corner = Corner(figure, left, top)
        corner.write(0, -0.04, titles[index], TITLE, va="bottom")
        if _films(lines[name]):
            _block(corner, lines[name], side)
        else:
            words = wrap(data.reason(TABLE, name), LABEL, DOUBLE - left - EDGE, lines=3)
            corner.write(0, 0, words, LABEL, va="top", color=GREY)
    return figure


def notes(data: Collected, some: list[Film]) -> list[str]:
    """The small print."""
    planned = seeds_planned(data, TABLE)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    runs = f"Validation images; runs of {numbered(planned[:1])}{first}."
    found = [f"{budget(data, TABLE, data.datasets(TABLE))} {runs}"]
    if some:
        counted = sorted({film.counted for film in some})
        drawn = sorted({film.latents.shape[1] for film in some})
        found.append(
            "Angles are true, distances from the origin logarithmic, with rings at powers of ten; "
            "one scale for all panels. In use is a codevector that is nearest to at least one of "
            f"{' or '.join(f'{n:,}' for n in counted)} latents, of which at most "
            f"{' or '.join(f'{n:,}' for n in drawn)} are drawn."
        )
    return found


def _films(some: dict[str, Film | str]) -> list[Film]:
    return [what for what in some.values() if not isinstance(what, str)]


def _block(corner: Corner, some: dict[str, Film | str], side: float) -> None:
    """The discs of one dataset, of which there is a film. corner: the top left of the headings."""
    drawn = _films(some)
    columns = steps(drawn)
    scale = plane.scale(drawn)
    for column, step in enumerate(columns):
        head = f"step {step:,}" if step else "before training"
        corner.write((side + GAP) * column + side / 2, 0, head, LABEL, va="top", ha="center")
    size = corner.figure.get_size_inches()
    for line, (row, film) in enumerate(some.items()):
        top = HEAD + (side + HEAD) * line
        corner.write(-0.08, top + side / 2, row, LABEL, va="center", ha="right")
        if isinstance(film, str):
            words = wrap(film, LABEL, DOUBLE - corner.left - EDGE, int(side / height(1, LABEL)))
            corner.write(0, top + side / 2, words, LABEL, va="center", color=GREY)
            continue
        for column, step in enumerate(columns):
            x, y = corner.left + (side + GAP) * column, size[1] - corner.top - top - side
            ax = corner.figure.add_axes((x / size[0], y / size[1], side / size[0], side / size[1]))
            plane.disc(ax, scale, labels=line == 0 and column == 0)
            frame = film.at(step)
            outside = plane.draw(ax, frame, scale, style(row).colour, SIZE)
            words = plane.usage(frame, outside)
            place = (side + GAP) * column + side / 2, top + side + 0.01
            corner.write(*place, words, LABEL, va="top", ha="center")


def _key(figure: Figure, rows: list[str], above: float) -> None:
    """What the marks mean. above: inches from the foot of the page."""
    looks = [plane.marks(style(row).colour, 2 * SIZE) for row in rows]
    handles: list[Any] = [tuple(look["used"] for look in looks)]
    handles += [looks[0]["unused"], looks[0]["latent"]]
    figure.legend(
        handles,
        WORDS,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.3)},
        loc="lower center",
        bbox_to_anchor=(0.5, above / figure.get_size_inches()[1]),
        ncols=3,
        fontsize=LABEL,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.4,
        columnspacing=2.0,
    )
