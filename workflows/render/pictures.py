"""Test images, below them what each method makes of them, and below that where it errs."""

from __future__ import annotations

from matplotlib.figure import Figure

from workflows.render import errors
from workflows.render.collected import Collected
from workflows.render.notes import budget, numbered, seeds_planned
from workflows.render.plates import ERROR, Lines, plate
from workflows.render.tiles import halves, tiled

TABLE = "methods"
ORIGINAL = "original"


def shown(data: Collected, dataset: str) -> Lines:
    """What the lines of a dataset show: the first seed's picture, or why there is none.

    A reason that the first line gives is not repeated in full. Errors have lines of their own,
    after those of the methods.
    """
    found: Lines = {ORIGINAL: data.reason(TABLE, dataset)}
    maps: Lines = {}
    for runs in data.runs(TABLE, dataset):
        first = data.plan.rows_of(TABLE, dataset)[runs.row][0]
        path = data.picture(first)
        if first in runs.failed or path is None:
            found[runs.row] = runs.failed.get(first, "not measured")
        else:
            images, reconstructed = halves(path)
            found[ORIGINAL], found[runs.row] = tiled(images), tiled(reconstructed)
            maps[ERROR + runs.row] = tiled(errors.error_map(images, reconstructed))
    said = str(found[ORIGINAL]) if isinstance(found[ORIGINAL], str) else ""
    short = {
        row: what.split(":")[0] if isinstance(what, str) and said.endswith(f": {what}") else what
        for row, what in found.items()
    }
    return short | maps


def reconstructions(data: Collected) -> Figure:
    """The originals on top, then for each method a line of its pictures and one of its errors."""
    lines = {name: shown(data, name) for name in data.datasets(TABLE)}
    planned = seeds_planned(data, TABLE)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    runs = f"Test images; runs of {numbered(planned[:1])}{first}."
    return plate(data, TABLE, lines, f"{budget(data, TABLE, lines)} {runs}")
