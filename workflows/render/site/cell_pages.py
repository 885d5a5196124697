"""The page of all cells, and a page for each: what it is, what came of it, how to run it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.config.names import METRICS
from workflows.config.records import TrainRecord
from workflows.records.intervals import interval
from workflows.render.numbers import ABSENT, DIGITS, UNITS, heading, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.tables import PROTOCOLS

Shown = dict[str, Any]
# Of the page of all cells.
FIRST = ("PSNR", "rFID", "usage", "FID")


def cell_page(gallery: Gallery, cell: str) -> Shown:
    """What the template `cell.html` shows."""
    plan, record = gallery.plan, gallery.records.get(cell)
    dataset = plan.knobs(cell).dataset
    return {
        "title": cell,
        "cell": cell,
        "dataset": plan.dataset_title(dataset),
        "places": [
            {
                "title": plan.tables[table].title,
                "row": row,
                "link": links.table(
                    table, links.block(dataset, gallery.block(table, dataset).protocol)
                ),
            }
            for table, row in gallery.places(cell)
        ],
        "state": gallery.state(cell),
        "trouble": gallery.troubles.get(cell, ""),
        "others": links.seeds(gallery.others(cell)),
        "protocols": [_metrics(gallery, cell, protocol) for protocol in PROTOCOLS],
        "settings": sorted(plan.knobs(cell).model_dump().items()),
        "provenance": _provenance(record) if record else [],
        "logged": cell in gallery.logged,
        "counted": cell in gallery.counted,
        "pictured": gallery.data.picture(cell) is not None,
        "neighbours": gallery.data.picture(cell, "neighbours") is not None,
        "stage": plan.cells[cell].stage,
        "first_stage": plan.cells[cell].first_stage,
        "diffused_by": [name for name, about in plan.cells.items() if about.first_stage == cell],
    }


def _metrics(gallery: Gallery, cell: str, protocol: str) -> Shown:
    """A protocol's numbers: this run's, those of other seeds, and the mean over all."""
    others = [name for name in gallery.others(cell) if name in gallery.finished]
    runs = [gallery.numbers(name, protocol) for name in (cell, *others)]
    return {
        "title": PROTOCOLS[protocol],
        "others": links.seeds(others),
        "rows": [
            {
                "anchor": links.value(protocol, metric),
                **_metric(metric, [run[metric] for run in runs]),
            }
            for metric in DIGITS
            if all(metric in run for run in runs)
        ],
    }


def _metric(metric: str, runs: Sequence[Mapping[str, Any]]) -> Shown:
    """runs: `value`, `images` and `features` of this run first, then of the other seeds."""
    first, *rest = runs
    found = interval([run["value"] for run in runs])
    mean, low, high = (shown(metric, part) for part in (found.mean, found.low, found.high))
    return {
        "metric": f"{metric} ({UNITS[metric]})" if metric in UNITS else metric,
        "better": "higher" if METRICS[metric] else "lower",
        "value": shown(metric, first["value"]),
        "others": [shown(metric, run["value"]) for run in rest],
        "mean": f"{mean} [{low}, {high}]" if rest else ABSENT,
        "images": f"{int(first['images']):,}" if first["images"] == first["images"] else "",
        "features": first["features"],
    }


def _provenance(record: TrainRecord) -> list[tuple[str, str]]:
    """Name and value of what a run's record says of where it comes from."""
    minutes, seconds = divmod(round(record.seconds), 60)
    return [
        ("commit", links.code(record)),
        ("environment", "requirements.lock of that commit"),
        ("device", record.device),
        ("threads", str(record.threads)),
        ("training time", f"{minutes} min {seconds} s"),
        ("steps", f"{record.steps:,} of {record.planned_steps or record.steps:,}"),
        ("epochs", f"{record.epochs:g} over {record.images:,} images"),
        ("parameters", f"{record.parameters:,}" if record.parameters else ABSENT),
        ("status", record.status + (f": {record.message}" if record.message else "")),
        ("training data, SHA-256", record.dataset_sha256),
    ]


def cells_page(gallery: Gallery) -> Shown:
    """What the template `cells.html` shows: every cell with its first numbers."""
    return {
        "title": "Cells",
        "protocol": PROTOCOLS[gallery.beside],
        "columns": [heading(name, _images(gallery, name)) for name in FIRST],
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
        "numbers": [_number(gallery, cell, metric) for metric in FIRST],
        "seconds": f"{record.seconds:.0f}" if record else "",
        "commit": links.code(record) if record else "",
    }


def _number(gallery: Gallery, cell: str, metric: str) -> Shown:
    beside = _protocol(gallery, metric)
    known = gallery.numbers(cell, beside).get(metric)
    if known is None:
        return {"text": shown(metric, None), "order": "", "link": ""}
    link = links.cell(cell, links.value(beside, metric))
    return {"text": shown(metric, known["value"]), "order": known["value"], "link": link}
