"""Where each page of the site lies below its root, the anchors within, and how things are named."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from workflows.config.records import TrainRecord

INDEX, VERDICTS, FIGURES, CELLS = "index.html", "verdicts.html", "figures.html", "cells.html"


def cell(name: str, anchor: str = "") -> str:
    """The page of a cell."""
    return f"cells/{name}.html" + (f"#{anchor}" if anchor else "")


def table(name: str, anchor: str = "") -> str:
    """The page of a table."""
    return f"tables/{name}.html" + (f"#{anchor}" if anchor else "")


def block(dataset: str, protocol: str) -> str:
    """The anchor of a table's dataset and protocol."""
    return f"{dataset}-{protocol}"


def value(protocol: str, metric: str) -> str:
    """The anchor of a cell's number."""
    return f"{protocol}-{metric}"


def picture(name: str, file: str) -> str:
    """A cell's drawing, such as `curves.svg`."""
    return f"pictures/{name.replace('/', '__')}-{file}"


def seeds(cells: Iterable[str]) -> list[tuple[str, str]]:
    """The seed and the page of each cell."""
    return [(name.rpartition("/seed")[2], cell(name)) for name in cells]


def code(record: TrainRecord) -> str:
    """The commit that trained a run, and whether the tree differed from it."""
    return record.commit + (" with changes" if record.dirty else "")


def relative(page: str, target: str) -> str:
    """`target` as a link on `page`, both from the root; quoted."""
    path, mark, anchor = target.partition("#")
    return "../" * page.count("/") + quote(path) + mark + quote(anchor)
