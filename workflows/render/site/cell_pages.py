"""The page of all cells, and a page for each: what it is, what came of it, how to run it again."""

from __future__ import annotations

from collections.abc import Sequence

from workflows.config.names import METRICS, RUN_METRICS
from workflows.records.intervals import interval
from workflows.render.captions import short
from workflows.render.numbers import DIGITS, PROTOCOLS, few, heading, ranged, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery, Shown


def pictures(gallery: Gallery, cell: str) -> list[str]:
    """The pictures that a cell's folder has for its page."""
    first = "samples.png" if gallery.plan.cells[cell].stage == 2 else "reconstructions.png"
    return [name for name in (first, "neighbours.png") if gallery.file(cell, name)]


def cell_page(gallery: Gallery, cell: str) -> Shown:
    """What the template `cell.html` shows."""
    cells, others = gallery.plan.cells, gallery.others(cell)
    measured = [name for name in others if name in gallery.finished]
    return {
        "title": cell,
        "about": cells[cell],
        "others": others,
        "measured_others": measured,
        "protocols": [
            (words, _metrics(gallery, [cell, *measured], name)) for name, words in PROTOCOLS.items()
        ],
        "record": gallery.records.get(cell),
        "pictures": pictures(gallery, cell),
        "diffused_by": [name for name, one in cells.items() if one.first_stage == cell],
    }


def _metrics(gallery: Gallery, cells: Sequence[str], protocol: str) -> list[Shown]:
    """A protocol's numbers: those of the first cell, those of other seeds, the mean over all."""
    found = []
    measured = [gallery.values(cell, protocol) for cell in cells]
    for metric in (name for name in DIGITS if name not in RUN_METRICS):
        if not all(metric in values for values in measured):
            continue
        values, first = [of[metric]["value"] for of in measured], measured[0][metric]
        found.append(
            {
                "anchor": links.anchor(protocol, metric),
                "metric": heading(metric),
                "better": "higher" if METRICS[metric] else "lower",
                "values": [shown(metric, value) for value in values],
                "mean": ranged(metric, *interval(values)[:3]),
                "images": f"{int(first['images']):,}",
                "few": few(metric, [first["images"]]),
                "features": first["features"],
            }
        )
    return found


def cells_page(gallery: Gallery) -> Shown:
    """What the template `cells.html` shows: the numbers of all cells, measured cells first."""
    plan = gallery.plan
    protocols = dict.fromkeys(("usage", "PSNR", "rFID"), gallery.beside) | {"FID": "samples"}
    datasets = dict.fromkeys(cell.dataset for cell in plan.cells.values())
    return {
        "title": "Cells",
        "cells": sorted(plan.cells, key=lambda cell: gallery.state(cell) != "measured"),
        "protocols": {
            metric: protocol
            for metric, protocol in protocols.items()
            if any(metric in gallery.values(cell, protocol) for cell in plan.cells)
        },
        "filters": {
            "dataset": sorted({short(plan, name) for name in datasets}),
            "method": sorted({cell.knobs.method for cell in plan.cells.values()}),
            "table": [plan.tables[name].title for name in plan.tables],
        },
    }
