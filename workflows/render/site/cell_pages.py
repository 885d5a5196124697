"""The page of all cells, and a page for each: what it is, what came of it, how to run it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workflows.config.names import METRICS
from workflows.config.records import TrainRecord
from workflows.records.intervals import interval
from workflows.render.numbers import ABSENT, DIGITS, PROTOCOLS, heading, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery

Shown = dict[str, Any]
# Of the page of all cells.
FIRST = ("PSNR", "rFID", "usage", "FID")


def pictures(gallery: Gallery, cell: str) -> list[str]:
    """The pictures that a cell's folder has for its page."""
    first = "samples.png" if gallery.plan.cells[cell].stage == 2 else "reconstructions.png"
    return [name for name in (first, "neighbours.png") if gallery.data.file(cell, name)]


def cell_page(gallery: Gallery, cell: str) -> Shown:
    """What the template `cell.html` shows."""
    plan, record = gallery.plan, gallery.records.get(cell)
    dataset = plan.knobs(cell).dataset
    others = [name for name in gallery.others(cell) if name in gallery.data.finished]
    return {
        "title": cell,
        "about": plan.cells[cell],
        "dataset": plan.dataset_title(dataset),
        "places": [
            (gallery.place(table, dataset), plan.tables[table].title, row)
            for table, row in gallery.places(cell)
        ],
        "state": gallery.state(cell),
        "trouble": gallery.data.failed.get(cell, ""),
        "others": links.seeds(gallery.others(cell)),
        "measured_others": links.seeds(others),
        "protocols": [
            (PROTOCOLS[protocol], _metrics(gallery, [cell, *others], protocol))
            for protocol in PROTOCOLS
        ],
        "provenance": _provenance(record) if record else {},
        "logged": cell in gallery.logged,
        "counted": cell in gallery.counted,
        "pictures": pictures(gallery, cell),
        "diffused_by": [name for name, about in plan.cells.items() if about.first_stage == cell],
    }


def _metrics(gallery: Gallery, cells: Sequence[str], protocol: str) -> list[Shown]:
    """A protocol's numbers: those of the first cell, those of other seeds, the mean over all."""
    found = []
    for metric in DIGITS:
        runs = [gallery.numbers(cell, protocol).get(metric) for cell in cells]
        values = [run["value"] for run in runs if run]
        if runs[0] is None or len(values) < len(runs):
            continue
        over = interval(values)
        mean, low, high = (shown(metric, part) for part in (over.mean, over.low, over.high))
        found.append(
            {
                "anchor": links.value(protocol, metric),
                "metric": heading(metric),
                "better": "higher" if METRICS[metric] else "lower",
                "values": [shown(metric, value) for value in values],
                "mean": f"{mean} [{low}, {high}]",
                "images": f"{int(runs[0]['images']):,}",
                "features": runs[0]["features"],
            }
        )
    return found


def _provenance(record: TrainRecord) -> dict[str, str]:
    """What a run's record says of where it comes from."""
    minutes, seconds = divmod(round(record.seconds), 60)
    return {
        "commit": links.code(record),
        "environment": "requirements.lock of that commit",
        "device": record.device,
        "threads": str(record.threads),
        "training time": f"{minutes} min {seconds} s",
        "steps": f"{record.steps:,} of {record.planned_steps or record.steps:,}",
        "epochs": f"{record.epochs:g} over {record.images:,} images",
        "parameters": f"{record.parameters:,}" if record.parameters else ABSENT,
        "status": record.status + (f": {record.message}" if record.message else ""),
        "training data, SHA-256": record.dataset_sha256,
    }


def cells_page(gallery: Gallery) -> Shown:
    """What the template `cells.html` shows: every cell with its first numbers."""
    protocols = {name: "samples" if name == "FID" else gallery.beside for name in FIRST}
    images: dict[str, set[int]] = {metric: set() for metric in FIRST}
    rows = []
    for cell in gallery.plan.cells:
        numbers = []
        for metric, protocol in protocols.items():
            number = {"text": ABSENT, "order": "", "link": ""}
            if known := gallery.numbers(cell, protocol).get(metric):
                images[metric].add(int(known["images"]))
                link = links.cell(cell, links.value(protocol, metric))
                text = shown(metric, known["value"])
                number = {"text": text, "order": known["value"], "link": link}
            numbers.append(number)
        about = {"state": gallery.state(cell), "record": gallery.records.get(cell)}
        rows.append({"cell": cell, "numbers": numbers, **about})
    return {
        "title": "Cells",
        "protocol": PROTOCOLS[gallery.beside],
        "columns": [heading(metric, images[metric]) for metric in FIRST],
        "rows": rows,
    }
