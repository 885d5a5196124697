"""Every page of the site as HTML, and the files that pages share."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jinja2

from workflows.render.site import links
from workflows.render.site.cell_pages import cell_page
from workflows.render.site.cells_page import cells_page
from workflows.render.site.figure_page import figure_page
from workflows.render.site.gallery import Gallery
from workflows.render.site.overview import overview
from workflows.render.site.table_pages import table_page
from workflows.render.site.verdict_pages import verdict_page

HERE = files("workflows.render.site")


def pages(gallery: Gallery) -> Iterator[tuple[str, str]]:
    """(path below the root, HTML) of every page. Whatever comes from data or names is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("workflows.render.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plan": gallery.plan, "tables": _tables(gallery), "links": links}

    def page(path: str, template: str, values: dict[str, Any]) -> tuple[str, str]:
        def url(target: str) -> str:
            return links.relative(path, target)

        return path, environment.get_template(template).render(values, path=path, url=url)

    yield page(links.INDEX, "index.html", overview(gallery))
    yield page(links.VERDICTS, "verdicts.html", verdict_page(gallery))
    yield page(links.FIGURES, "figures.html", figure_page(gallery))
    yield page(links.CELLS, "cells.html", cells_page(gallery))
    for table in gallery.plan.tables:
        yield page(links.table(table), "table.html", table_page(gallery, table))
    for cell in gallery.plan.cells:
        yield page(links.cell(cell), "cell.html", cell_page(gallery, cell))


def _tables(gallery: Gallery) -> dict[str, Any]:
    """The tables, first those that headlines speak of."""
    first = {claim["table"] for claim in gallery.plan.claims if claim.get("headline")}
    tables = gallery.plan.tables
    return {name: tables[name] for name in sorted(tables, key=lambda name: name not in first)}


def assets() -> Iterator[tuple[str, str]]:
    """(path below the root, content) of the style sheets and scripts; nothing from another host.

    DataTables comes from the package itables as a module, which a browser does not load from a file
    next to a page, but does from a data address in a script.
    """
    yield "assets/site.css", (HERE / "templates" / "site.css").read_text(encoding="utf-8")
    yield "assets/site.js", (HERE / "templates" / "site.js").read_text(encoding="utf-8")
    bundle = files("itables") / "html"
    yield "assets/datatables.css", (bundle / "dt_bundle.css").read_text(encoding="utf-8")
    module = base64.b64encode((bundle / "dt_bundle.js").read_bytes()).decode("ascii")
    yield (
        "assets/datatables.js",
        f'window.datatables = import("data:text/javascript;base64,{module}");\n',
    )
