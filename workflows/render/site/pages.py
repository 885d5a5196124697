"""Make every file of the site: pages, shared files, pictures, and copies of data and figures."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

import jinja2

from workflows.render import captions, numbers, verdicts
from workflows.render.figures import cells
from workflows.render.figures import files as figure_files
from workflows.render.figures.layout import encoded
from workflows.render.site import claim_pages, links, other_pages
from workflows.render.site.gallery import Gallery, Values

TEMPLATES = Path(__file__).with_name("templates")


def contents(
    gallery: Gallery, results: Path, figures: Path
) -> Iterator[tuple[str, str | bytes | Path]]:
    """Yield the path below the site's root and the content of every file, or a file to copy.

    results, figures: the folders of the budget's tables and figures.
    """
    yield from _assets()
    yield from _pages(gallery)
    for name in ("measured", "curves", "codes", "verdicts"):
        yield f"data/{name}.csv", results / f"{name}.csv"
    for table in gallery.plan.tables:
        for kind in ("csv", "md", "tex"):
            file = f"tables/{table}.{kind}"
            yield f"data/{file}", results / file
    for name, figure in gallery.plan.figures.items():
        if figure.table is None:
            for file, content in figure_files(gallery, name, figure).items():
                yield f"figures/{file}", content
            continue
        for file in (f"{name}.svg", f"{name}.png", f"{name}.csv", *figure.more):
            yield f"figures/{file}", figures / file
    for cell in gallery.plan.cells:
        yield from _pictures(gallery, cell)


def _pictures(gallery: Gallery, cell: str) -> Iterator[tuple[str, Path | bytes]]:
    """Yield the path and content of each picture on a cell's page."""
    for name in other_pages.pictures(gallery, cell):
        yield links.picture(cell, name), Path(gallery.plan.cells[cell].folder, name)
    for file, drawable, draw in (
        ("curves.svg", gallery.with_curves, cells.curves),
        ("codes.svg", gallery.with_codes, cells.codes),
    ):
        if cell in drawable:
            row = next((row for _, row in gallery.shown_in(cell)), "")
            others = [name for name in gallery.other_seeds(cell) if name in drawable]
            yield links.picture(cell, file), encoded(draw(gallery, cell, others, row), "svg")


def _pages(gallery: Gallery) -> Iterator[tuple[str, str]]:
    """Yield the path and HTML of every page. Texts from data and names are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan = gallery.plan
    # The menu begins with the tables that headlines speak of.
    headlines = {claim.table for claim in plan.claims if claim.about.headline}
    tables = sorted(plan.tables, key=lambda name: name not in headlines)
    methods = list(dict.fromkeys(cell.knobs.method for cell in plan.cells.values()))
    environment.globals |= {
        "captions": captions,
        "figures": plan.figures,
        "gallery": gallery,
        "links": links,
        "methods": methods,
        "numbers": numbers,
        "plan": plan,
        "tables": {name: plan.tables[name] for name in tables},
        "verdicts": verdicts,
    }

    def page(path: str, template: str, values: Values) -> tuple[str, str]:
        url = partial(links.relative, path)
        return path, environment.get_template(template).render(values, path=path, url=url)

    yield page(links.INDEX, "index.html", claim_pages.overview(gallery))
    yield page(links.CLAIMS, "claims.html", claim_pages.claims_page(gallery))
    yield page(links.FIGURES, "figures.html", {"title": "Figures"})
    yield page(links.CELLS, "cells.html", other_pages.cells_page(gallery))
    yield page(links.QUALITY, "quality.html", other_pages.quality_page(gallery))
    yield page(links.OTHERS, "others.html", other_pages.others_page(gallery))
    for table in plan.tables:
        yield page(links.table(table), "table.html", other_pages.table_page(gallery, table))
    for name, figure in plan.figures.items():
        values = {"title": figure.title, "name": name, "figure": figure}
        yield page(links.figure(name), "figure.html", values)
    for method in methods:
        yield page(links.method(method), "method.html", other_pages.method_page(gallery, method))
    for cell in plan.cells:
        yield page(links.cell(cell), "cell.html", other_pages.cell_page(gallery, cell))


def _assets() -> Iterator[tuple[str, str]]:
    """Yield the path and content of style sheets and scripts; none comes from another host."""
    for name in ("site.css", "site.js"):
        yield f"assets/{name}", (TEMPLATES / name).read_text(encoding="utf-8")
    bundle = files("itables") / "html"
    yield "assets/datatables.css", (bundle / "dt_bundle.css").read_text(encoding="utf-8")
    # DataTables is a module, which a browser loads from a data address but not from a file.
    module = base64.b64encode((bundle / "dt_bundle.js").read_bytes()).decode("ascii")
    script = f'window.datatables = import("data:text/javascript;base64,{module}");\n'
    yield "assets/datatables.js", script
