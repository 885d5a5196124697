"""The paths of pages below the site's root, places on pages, and links between pages."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

INDEX, CLAIMS, FIGURES = "index.html", "claims.html", "figures.html"
CELLS, QUALITY, OTHERS = "cells.html", "quality.html", "others.html"


def _page(folder: str, name: str, place: str = "") -> str:
    return f"{folder}/{name}.html" + (f"#{place}" if place else "")


# Each returns the page of a cell, table, figure or method by its name, or a place on the page.
cell, table, figure, method = (
    partial(_page, folder) for folder in ("cells", "tables", "figures", "methods")
)


def claim(name: str, dataset: str = "") -> str:
    """Return the place of a claim, or of its verdicts on a dataset."""
    return f"{CLAIMS}#{name}" + (f"-{dataset}" if dataset else "")


def picture(cell_name: str, file: str) -> str:
    """Return the path of a cell's picture, such as `curves.svg`."""
    return f"pictures/{cell_name.replace('/', '__')}-{file}"


def relative(page: str, target: str) -> str:
    """Return a quoted link on `page` to `target`; both are paths below the site's root."""
    path, mark, fragment = target.partition("#")
    return "../" * page.count("/") + quote(path) + mark + quote(fragment)
