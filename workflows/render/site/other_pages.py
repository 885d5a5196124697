"""The pages of tables and of methods, and what is wrong with the numbers."""

from __future__ import annotations

from workflows.knobs import Training
from workflows.render.blocks import Block
from workflows.render.captions import method_title, short
from workflows.render.numbers import ENOUGH, PROTOCOLS
from workflows.render.site import links
from workflows.render.site.gallery import Gallery, Shown
from workflows.render.tables import foot

# State of a cell -> what the quality page says of such cells.
TROUBLES = {
    "diverged": "Diverged: the training ended early, and there are no numbers",
    "outdated": "Outdated: records of other settings or versions, whose numbers are not shown",
    "dataset missing": "Without their dataset on the machine that rendered this",
    "not measured": "Not measured yet",
}


def table_page(gallery: Gallery, table: str) -> Shown:
    """What the template `table.html` shows."""
    plan, sheets = gallery.plan, gallery.sheets[table]
    datasets: dict[str, list[Block]] = {}
    for block in sheets:
        datasets.setdefault(block.dataset, []).append(block)
    protocols = [name for name in PROTOCOLS if any(block.protocol == name for block in sheets)]
    return {
        "title": plan.tables[table].title,
        "name": table,
        "protocols": {name: PROTOCOLS[name] for name in protocols},
        "sections": [
            {
                "short": short(plan, name, table),
                "long": plan.dataset_title(name, table),
                "blocks": of,
            }
            for name, of in datasets.items()
        ],
        "foot": foot(sheets, plan),
        "filled": any(block.entries for block in sheets),
        "measured": any(block.measured for block in sheets),
        "claims": [claim.about for claim in plan.claims if claim.table == table],
    }


def method_page(gallery: Gallery, method: str) -> Shown:
    """What the template `method.html` shows."""
    plan = gallery.plan
    cells = [name for name, cell in plan.cells.items() if cell.knobs.method == method]
    fields = [set(type(plan.knobs(cell)).model_fields) for cell in cells]
    own = set.intersection(*fields) - set(Training.model_fields)
    values = {
        knob: dict.fromkeys(str(getattr(plan.knobs(cell), knob)) for cell in cells)
        for knob in sorted(own)
    }
    rows = dict.fromkeys(
        (table, plan.cells[cell].dataset, row)
        for cell in cells
        for table, row in gallery.places(cell)
    )
    kept = ("PSNR", "rFID", "usage") if plan.cells[cells[0]].stage == 1 else ("FID", "KID")
    curves: dict[str, str] = {}
    for cell in sorted(cells, key=lambda name: "/default/" not in name):
        if cell in gallery.logged:
            curves.setdefault(plan.cells[cell].dataset, cell)
    return {
        "title": method_title(method),
        "method": method,
        "settings": {knob: ", ".join(of) for knob, of in values.items()},
        "rows": rows,
        "metrics": kept,
        "curves": [(short(plan, dataset), cell) for dataset, cell in curves.items()],
    }


def quality_page(gallery: Gallery) -> Shown:
    """What the template `quality.html` shows: check -> reason -> its findings, with links."""
    plan = gallery.plan
    checks: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for state, title in TROUBLES.items():
        for cell in plan.cells:
            if gallery.state(cell) == state:
                reason = gallery.failed.get(cell, "").partition(": ")[2]
                checks.setdefault(title, {}).setdefault(reason, []).append((cell, links.cell(cell)))
    images = f"Fréchet distances over fewer than {ENOUGH:,} images, which are biased upwards"
    seeds = "Rows of one seed, which have no interval and decide nothing"
    for table, sheets in gallery.sheets.items():
        for block in sheets:
            anchor = links.table(table, links.anchor(block.dataset, block.protocol))
            title, name = plan.tables[table].title, short(plan, block.dataset, table)
            where = f"{title}, {name}, {PROTOCOLS[block.protocol]}"
            for metric in plan.tables[table].metrics:
                if block.few(metric):
                    of = checks.setdefault(images, {}).setdefault(block.heading(metric), [])
                    of.append((where, anchor))
            if single := int((block.rows["seeds"] == 1).sum()):
                said = f"{where}: {single} of {len(block.rows)} rows"
                checks.setdefault(seeds, {}).setdefault("", []).append((said, anchor))
    return {"title": "Quality", "checks": checks, "cells": len(plan.cells)}


def others_page(gallery: Gallery) -> Shown:
    """What the template `others.html` shows: what other publications report, table by table."""
    sections = []
    tables = gallery.reported.groupby(["table", "source", "dataset"], sort=False)
    for (_, source, dataset), lines in tables:
        wide = lines.set_index(["row", "metric"])["value"].to_dict()
        rows, metrics = (list(dict.fromkeys(lines[key])) for key in ("row", "metric"))
        sections.append(
            {
                "title": _heading(str(source), gallery.plan.title_of(str(dataset))),
                "metrics": metrics,
                "rows": {row: [wide.get((row, metric), "") for metric in metrics] for row in rows},
                "notes": [*dict.fromkeys(filter(None, [*lines["evidence"], *lines["note"]]))],
            }
        )
    return {"title": "What others report", "sections": sections}


def _heading(source: str, dataset: str) -> str:
    """A source with the dataset behind it, which some sources end with in another spelling."""
    start, _, end = source.rpartition(", ")
    same = end.replace("-", "").lower() == dataset.replace("-", "").lower()
    return f"{start if same else source}, {dataset}"
