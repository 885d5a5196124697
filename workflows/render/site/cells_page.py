"""The page of all cells, to be sorted and filtered."""

from __future__ import annotations

from typing import Any

from workflows.render.numbers import heading, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.tables import PROTOCOLS

Shown = dict[str, Any]
METRICS = ("PSNR", "rFID", "usage", "FID")


def cells_page(gallery: Gallery) -> Shown:
    """What the template `cells.html` shows: every cell with its first numbers."""
    return {
        "title": "Cells",
        "protocol": PROTOCOLS[gallery.beside],
        "columns": [heading(name, _images(gallery, name)) for name in METRICS],
        "rows": [_row(gallery, cell) for cell in gallery.plan.cells],
    }


def _images(gallery: Gallery, metric: str) -> set[int]:
    """The different numbers of test images behind a column."""
    beside = _protocol(gallery, metric)
    known = (gallery.numbers(cell, beside).get(metric) for cell in gallery.finished)
    return {int(number["images"]) for number in known if number}


def _protocol(gallery: Gallery, metric: str) -> str:
    return "samples" if metric == "FID" else gallery.beside


def _row(gallery: Gallery, cell: str) -> Shown:
    dataset, method, variant, seed = cell.split("/")
    record = gallery.records.get(cell)
    return {
        "link": links.cell(cell),
        "cell": cell,
        "dataset": gallery.plan.title_of(dataset),
        "method": method,
        "variant": variant,
        "seed": seed.removeprefix("seed"),
        "state": gallery.state(cell),
        "numbers": [_number(gallery, cell, metric) for metric in METRICS],
        "seconds": f"{record['seconds']:.0f}" if record else "",
        "commit": links.code(record) if record else "",
    }


def _number(gallery: Gallery, cell: str, metric: str) -> Shown:
    beside = _protocol(gallery, metric)
    known = gallery.numbers(cell, beside).get(metric)
    if known is None:
        return {"text": shown(metric, None), "order": "", "link": ""}
    link = links.cell(cell, links.value(beside, metric))
    return {"text": shown(metric, known["value"]), "order": known["value"], "link": link}
