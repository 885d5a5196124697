"""A page per table: each block sortable, every number a link to a run behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from workflows.records.published import as_number
from workflows.render.blocks import Block
from workflows.render.numbers import ABSENT, heading, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.tables import PROTOCOLS, caption, mean

Shown = dict[str, Any]
NOTHING: Shown = {"text": ABSENT, "order": "", "link": "", "best": False, "theirs": True}
OURS = NOTHING | {"theirs": False}


def table_page(gallery: Gallery, table: str) -> Shown:
    """What the template `table.html` shows."""
    record = gallery.plan.tables[table]
    return {
        "title": record.title,
        "caption": record.caption,
        "name": table,
        "sheets": [sheet(gallery, block) for block in gallery.sheets[table]],
        "claims": [claim.about for claim in gallery.plan.claims if claim.table == table],
    }


def sheet(gallery: Gallery, block: Block) -> Shown:
    """One block: its heading, its columns by metric, and its rows of linked numbers."""
    plan = gallery.plan
    metrics = list(dict.fromkeys(block.lines["metric"]))
    groups = {metric: _group(block, metric, plan.title_of) for metric in metrics}
    rows = []
    for state in block.rows.to_dict("records"):
        cells = gallery.runs(block.table, block.dataset, str(state["row"]))
        lines = block.lines[block.lines["row"] == state["row"]].set_index("metric")
        numbers = [
            number
            for metric in metrics
            for number in _numbers(lines.loc[metric], metric, groups[metric], cells, block.protocol)
        ]
        rows.append({"row": state["row"], "numbers": numbers, "runs": links.seeds(cells)})
    return {
        "title": f"{plan.dataset_title(block.dataset, block.table)}, {PROTOCOLS[block.protocol]}",
        "anchor": links.block(block.dataset, block.protocol),
        "caption": caption(block, plan),
        "groups": list(groups.values()),
        "rows": rows,
        "notes": _notes(block),
    }


def _notes(block: Block) -> list[tuple[str, list[str]]]:
    """What is to be said of rows, and of which; the same of several is said once."""
    found: dict[str, list[str]] = {}
    for row, note in zip(block.rows["row"], block.rows["note"], strict=True):
        if note:
            found.setdefault(note, []).append(row)
    return list(found.items())


def _group(block: Block, metric: str, title_of: Any) -> Shown:
    """A metric's heading, and the columns below it."""
    lines = block.lines[block.lines["metric"] == metric]
    other = block.published_dataset != block.dataset
    columns = ["ours"]
    if (lines["published"] != "").any():
        columns.append(f"published ({title_of(block.published_dataset)})" if other else "published")
    if lines["difference"].notna().any():
        columns.append("difference")
    return {"heading": heading(metric, block.images(metric)), "columns": columns}


def _numbers(
    line: pd.Series, metric: str, group: Shown, cells: list[str], protocol: str
) -> Iterator[Shown]:
    """A row's numbers below one metric's heading."""
    link = links.cell(cells[0], links.value(protocol, metric)) if cells else ""
    for column in group["columns"]:
        if column == "ours" and line["seeds"]:
            text = mean(metric, line.to_dict())
            yield OURS | {"text": text, "order": line["mean"], "link": link, "best": line["best"]}
        elif column.startswith("published") and line["published"]:
            text = line["published"]
            yield NOTHING | {"text": text, "order": as_number(text)}
        elif column == "difference" and line["difference"] == line["difference"]:
            text = shown(metric, line["difference"], sign=True)
            yield OURS | {"text": text, "order": line["difference"], "link": link}
        else:
            yield NOTHING
