"""A page per table: each block sortable, every number a link to a run behind it."""

from __future__ import annotations

from typing import Any

from workflows.render.blocks import Block
from workflows.render.numbers import ABSENT, heading
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.tables import OURS, Column, caption, columns, name_of

Shown = dict[str, Any]


def table_page(gallery: Gallery, table: str) -> Shown:
    """What the template `table.html` shows."""
    return {
        "title": gallery.plan.tables[table].title,
        "name": table,
        "sheets": [_sheet(gallery, block) for block in gallery.sheets[table]],
        "claims": [claim.about for claim in gallery.plan.claims if claim.table == table],
    }


def _sheet(gallery: Gallery, block: Block) -> Shown:
    """One block: its columns by metric, its rows of linked numbers, and what is to be said."""
    every = list(columns(block, gallery.plan))
    groups: dict[str, list[str]] = {}
    for column in every:
        title = heading(column.metric, block.images(column.metric))
        groups.setdefault(title, []).append(column.title)
    rows = []
    for place, row in enumerate(block.rows["row"]):
        cells = gallery.runs(block.table, block.dataset, row)
        numbers = [_number(block, column, place, cells) for column in every]
        rows.append({"row": row, "numbers": numbers, "runs": links.seeds(cells)})
    # The same note of several rows is said once.
    notes: dict[str, list[str]] = {}
    for row, note in zip(block.rows["row"], block.rows["note"], strict=True):
        if note:
            notes.setdefault(note, []).append(row)
    return {
        "title": name_of(block, gallery.plan),
        "anchor": links.block(block.dataset, block.protocol),
        "caption": caption(block, gallery.plan),
        "groups": groups,
        "rows": rows,
        "notes": notes,
    }


def _number(block: Block, column: Column, place: int, cells: list[str]) -> Shown:
    """A row's number in a column; ours lead to a run behind them. place: the row's."""
    text, theirs = column.texts[place], column.title.startswith("published")
    if text == ABSENT:
        return {"text": text, "order": "", "link": "", "best": False, "theirs": True}
    anchor = links.value(block.protocol, column.metric)
    best = block.lines.loc[block.lines["metric"] == column.metric, "best"].iloc[place]
    return {
        "text": text,
        "order": column.values[place],
        "link": links.cell(cells[0], anchor) if cells and not theirs else "",
        "best": column.title == OURS and best,
        "theirs": theirs,
    }
