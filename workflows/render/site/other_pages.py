"""The values of the templates for cells, tables, methods, quality and what others report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from workflows.config.names import METRICS, RUN_METRICS, UNRANKED
from workflows.knobs import Prior, Training
from workflows.records.intervals import interval
from workflows.render import numbers
from workflows.render.captions import method_title, short
from workflows.render.site import links
from workflows.render.site.gallery import Gallery, Values
from workflows.render.tables import foot

# The state of a cell -> the heading of such cells on the quality page.
TROUBLES = {
    "diverged": "Diverged: the training ended early, and there are no numbers",
    "outdated": "Outdated: records of other settings or versions, whose numbers are not shown",
    "dataset missing": "Dataset missing on the machine that made these pages",
    "not measured": "Not measured yet",
}


def pictures(gallery: Gallery, cell: str) -> list[str]:
    """Return the pictures in a cell's folder that its page shows."""
    main = "samples.png" if gallery.plan.cells[cell].stage == 2 else "reconstructions.png"
    return [name for name in (main, "neighbours.png") if gallery.file(cell, name)]


def cell_page(gallery: Gallery, cell: str) -> Values:
    """Return the values of `cell.html`: a cell's settings, numbers and record."""
    cells, others = gallery.plan.cells, gallery.other_seeds(cell)
    measured = [name for name in others if name in gallery.finished]
    return {
        "title": cell,
        "planned": cells[cell],
        "others": others,
        "of_codes": isinstance(gallery.plan.knobs(cell), Prior),
        "measured_others": measured,
        "protocols": [
            (title, _metrics(gallery, [cell, *measured], protocol))
            for protocol, title in numbers.PROTOCOLS.items()
        ],
        "record": gallery.records.get(cell),
        "pictures": pictures(gallery, cell),
        "users": [name for name, planned in cells.items() if planned.first_stage == cell],
    }


def _metrics(gallery: Gallery, cells: Sequence[str], protocol: str) -> list[Values]:
    """Return a line for each metric that all cells have, with their values and the mean.

    cells: the cell of the page, then the same cell with other seeds.
    """
    lines = []
    measured = [gallery.values(cell, protocol) for cell in cells]
    for metric in numbers.DIGITS:
        if metric in RUN_METRICS or not all(metric in values for values in measured):
            continue
        better = "higher" if METRICS[metric] else "lower"
        values, first = [of_cell[metric]["value"] for of_cell in measured], measured[0][metric]
        lines.append(
            {
                "place": f"{protocol}-{metric}",
                "metric": numbers.heading(metric),
                "better": "" if metric in UNRANKED else better,
                "values": [numbers.formatted(metric, value) for value in values],
                "mean": numbers.with_interval(metric, *interval(values)[:3]),
                "images": f"{int(first['images']):,}",
                "too_few": numbers.too_few_images(metric, [first["images"]]),
                "features": first["features"],
            }
        )
    return lines


def cells_page(gallery: Gallery) -> Values:
    """Return the values of `cells.html`: the numbers of all cells, measured cells first."""
    plan = gallery.plan
    protocols = dict.fromkeys(("usage", "PSNR", "rFID"), plan.main_protocol()) | {"FID": "samples"}
    return {
        "title": "Cells",
        "cells": sorted(plan.cells, key=lambda cell: gallery.state(cell) != "measured"),
        "protocols": {
            metric: protocol
            for metric, protocol in protocols.items()
            if any(metric in gallery.values(cell, protocol) for cell in plan.cells)
        },
        "filters": {
            "dataset": sorted({short(plan, cell.dataset) for cell in plan.cells.values()}),
            "method": sorted({cell.knobs.method for cell in plan.cells.values()}),
            "table": [table.title for table in plan.tables.values()],
        },
    }


def table_page(gallery: Gallery, table: str) -> Values:
    """Return the values of `table.html`."""
    plan, blocks = gallery.plan, gallery.blocks[table]
    used = {block.protocol for block in blocks}
    return {
        "title": plan.tables[table].title,
        "name": table,
        "protocols": {name: title for name, title in numbers.PROTOCOLS.items() if name in used},
        "sections": [
            {
                "short": short(plan, dataset, table),
                "long": plan.dataset_title(dataset, table),
                "blocks": [block for block in blocks if block.dataset == dataset],
            }
            for dataset in dict.fromkeys(block.dataset for block in blocks)
        ],
        "foot": foot(blocks, plan),
        "filled": any(block.entries for block in blocks),
        "compared": any(
            entry["comparable"]
            for block in blocks
            for of_metric in block.entries.values()
            for entry in of_metric.values()
        ),
        "measured": any(block.measured for block in blocks),
        "claims": [claim.about for claim in plan.claims if claim.table == table],
    }


def method_page(gallery: Gallery, method: str) -> Values:
    """Return the values of `method.html`."""
    plan = gallery.plan
    cells = [name for name, cell in plan.cells.items() if cell.knobs.method == method]
    knobs = set.intersection(*(set(type(plan.knobs(cell)).model_fields) for cell in cells))
    settings = {
        knob: ", ".join(dict.fromkeys(str(getattr(plan.knobs(cell), knob)) for cell in cells))
        for knob in sorted(knobs - set(Training.model_fields))
    }
    rows = dict.fromkeys(
        (table, plan.cells[cell].dataset, row)
        for cell in cells
        for table, row in gallery.shown_in(cell)
    )
    # One cell per dataset shows its curves: one of the default variant, if there is such a cell.
    curves: dict[str, str] = {}
    for cell in sorted(cells, key=lambda name: "/default/" not in name):
        if cell in gallery.with_curves:
            curves.setdefault(plan.cells[cell].dataset, cell)
    return {
        "title": method_title(method),
        "method": method,
        "settings": settings,
        "rows": rows,
        "metrics": ["PSNR", "rFID", "usage"] if plan.cells[cells[0]].stage == 1 else ["FID", "KID"],
        "curves": [(short(plan, dataset), cell) for dataset, cell in curves.items()],
    }


def quality_page(gallery: Gallery) -> Values:
    """Return the values of `quality.html`: check -> reason -> (text, link, count) of findings."""
    plan = gallery.plan
    checks: dict[str, dict[str, list[tuple[str, str, int]]]]
    checks = defaultdict(lambda: defaultdict(list))
    for state, title in TROUBLES.items():
        for cell in plan.cells:
            if gallery.state(cell) == state:
                reason = gallery.failed.get(cell, "").partition(": ")[2]
                checks[title][reason].append((cell, links.cell(cell), 1))
    few_images = (
        f"Fréchet distances over fewer than {numbers.ENOUGH:,} images, which are biased upwards"
    )
    one_seed = "Rows of one seed, which have no interval and decide nothing"
    for table, blocks in gallery.blocks.items():
        for block in blocks:
            link = links.table(table, block.place)
            dataset = short(plan, block.dataset, table)
            name = f"{plan.tables[table].title}, {dataset}, {numbers.PROTOCOLS[block.protocol]}"
            for metric in plan.tables[table].metrics:
                if block.too_few_images(metric):
                    checks[few_images][block.heading(metric)].append((name, link, 1))
            if single := int((block.rows["seeds"] == 1).sum()):
                text = f"{name}: {single} of {len(block.rows)} rows"
                checks[one_seed][""].append((text, link, single))
    return {"title": "Quality", "checks": checks, "cells": len(plan.cells)}


def others_page(gallery: Gallery) -> Values:
    """Return the values of `others.html`: what other publications report, table by table."""
    sections = []
    tables = gallery.reported.groupby(["table", "source", "dataset"], sort=False)
    for (_, source, dataset), lines in tables:
        values = lines.set_index(["row", "metric"])["value"].to_dict()
        metrics = list(lines["metric"].unique())
        sections.append(
            {
                "title": _heading(str(source), gallery.plan.title_of(str(dataset))),
                "metrics": metrics,
                "rows": {
                    row: [values.get((row, metric), "") for metric in metrics]
                    for row in lines["row"].unique()
                },
                "notes": [*dict.fromkeys(filter(None, [*lines["evidence"], *lines["note"]]))],
            }
        )
    return {"title": "What others report", "sections": sections}


def _heading(source: str, dataset: str) -> str:
    """Return a source and the dataset, which some sources already name in another spelling."""
    start, _, end = source.rpartition(", ")
    repeated = end.replace("-", "").lower() == dataset.replace("-", "").lower()
    return f"{start if repeated else source}, {dataset}"
