"""Where each page of the site lies below its root, the anchors within, and how things are named."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from workflows.config.records import TrainRecord

INDEX, CLAIMS, FIGURES = "index.html", "claims.html", "figures.html"
CELLS, QUALITY, OTHERS = "cells.html", "quality.html", "others.html"
# Pages of the documentation that the site speaks of: in words -> where they lie in a clone.
DOCUMENTS = {"what is reproduced so far": "docs/reproduction.md", "doubts": "docs/doubts.md"}


def _page(folder: str, name: str, anchor: str = "") -> str:
    return f"{folder}/{name}.html" + (f"#{anchor}" if anchor else "")


# The page of each of these, by its name and an anchor within.
cell, table, figure, method = (
    partial(_page, folder) for folder in ("cells", "tables", "figures", "methods")
)


def claim(name: str, dataset: str = "") -> str:
    """A claim, or its verdicts on a dataset."""
    return f"{CLAIMS}#{name}" + (f"-{dataset}" if dataset else "")


def anchor(first: str, second: str) -> str:
    """The anchor of a table's dataset and protocol, or of a cell's protocol and metric."""
    return f"{first}-{second}"


def picture(name: str, file: str) -> str:
    """A cell's drawing, such as `curves.svg`."""
    return f"pictures/{name.replace('/', '__')}-{file}"


def code(record: TrainRecord) -> str:
    """The commit that trained a run, and whether the tree differed from it."""
    return record.commit + (" with changes" if record.dirty else "")


def document(page: str, file: str) -> str:
    """A file of the clone as a link on `page`; the site lies three folders below the clone."""
    return "../" * (page.count("/") + 3) + file


def relative(page: str, target: str) -> str:
    """`target` as a link on `page`, both from the root; quoted."""
    path, mark, anchor = target.partition("#")
    return "../" * page.count("/") + quote(path) + mark + quote(anchor)
