"""Everything that the site is made of: pages, the files that pages share, and copies."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from workflows.render import captions, numbers, verdicts
from workflows.render.figures import OF_ALL, cells, image, three_files
from workflows.render.site import links
from workflows.render.site.cell_pages import cell_page, cells_page, pictures
from workflows.render.site.claim_pages import claims_page, overview
from workflows.render.site.gallery import Gallery, Shown
from workflows.render.site.other_pages import (
    method_page,
    others_page,
    quality_page,
    table_page,
)

TEMPLATES = Path(__file__).with_name("templates")


def contents(
    gallery: Gallery, results: Path, figures: Path
) -> Iterator[tuple[str, str | bytes | Path]]:
    """(path below the root, what is there) of every file: its content, or a file to copy from the
    folders of the budget's tables and figures.
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
        for file in (f"{name}.svg", f"{name}.png", f"{name}.csv", *figure.more):
            yield f"figures/{file}", figures / file
    for name, (draw, _) in OF_ALL.items():
        for file, content in three_files(name, draw(gallery)).items():
            yield f"figures/{file}", content
    for cell in gallery.plan.cells:
        yield from _pictures(gallery, cell)


def _pictures(gallery: Gallery, cell: str) -> Iterator[tuple[str, Path | bytes]]:
    """What the page of a cell that was trained shows beside its numbers."""
    for name in pictures(gallery, cell):
        yield links.picture(cell, name), Path(gallery.plan.cells[cell].folder, name)
    for kind, known, draw in (
        ("curves.svg", gallery.logged, cells.curves),
        ("codes.svg", gallery.counted, cells.codes),
    ):
        if cell in known:
            row = next((row for _, row in gallery.places(cell)), "")
            behind = [name for name in gallery.others(cell) if name in known]
            yield links.picture(cell, kind), image(draw(gallery, cell, behind, row), "svg")


def _pages(gallery: Gallery) -> Iterator[tuple[str, str]]:
    """(path below the root, HTML) of every page. Whatever comes from data or names is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan = gallery.plan
    # In the menu the tables that headlines speak of come first.
    first = {claim.table for claim in plan.claims if claim.about.headline}
    tables = {name: plan.tables[name] for name in sorted(plan.tables, key=lambda n: n not in first)}
    methods = list(dict.fromkeys(cell.knobs.method for cell in plan.cells.values()))
    environment.globals |= {"captions": captions, "links": links, "numbers": numbers}
    environment.globals |= {"words": verdicts}
    environment.globals |= {"gallery": gallery, "plan": plan, "figures": gallery.figures}
    environment.globals |= {"tables": tables, "methods": methods}
    clone = Path(plan.results).parent.parent
    documents = {name: file for name, file in links.DOCUMENTS.items() if (clone / file).is_file()}
    environment.globals |= {"documents": documents}

    def page(path: str, template: str, values: Shown) -> tuple[str, str]:
        def url(target: str) -> str:
            return links.relative(path, target)

        def pointed(text: str) -> Markup:
            """Text in which the names of documents that are there are links to them."""
            made = escape(text)
            for file in documents.values():
                link = Markup('<a href="{}">{}</a>').format(links.document(path, file), file)
                made = made.replace(file, link)
            return made

        given = {"path": path, "url": url, "pointed": pointed}
        return path, environment.get_template(template).render(values, **given)

    yield page(links.INDEX, "index.html", overview(gallery))
    yield page(links.CLAIMS, "claims.html", claims_page(gallery))
    yield page(links.FIGURES, "figures.html", {"title": "Figures"})
    yield page(links.CELLS, "cells.html", cells_page(gallery))
    yield page(links.QUALITY, "quality.html", quality_page(gallery))
    yield page(links.OTHERS, "others.html", others_page(gallery))
    for table in plan.tables:
        yield page(links.table(table), "table.html", table_page(gallery, table))
    for name, figure in gallery.figures.items():
        values = {"title": figure["title"], "name": name, "figure": figure}
        yield page(links.figure(name), "figure.html", values)
    for name in methods:
        yield page(links.method(name), "method.html", method_page(gallery, name))
    for cell in plan.cells:
        yield page(links.cell(cell), "cell.html", cell_page(gallery, cell))


def _assets() -> Iterator[tuple[str, str]]:
    """(path below the root, content) of the style sheets and scripts; nothing from another host.

    DataTables is a module, which a browser loads from a data address but not from a file.
    """
    for name in ("site.css", "site.js"):
        yield f"assets/{name}", (TEMPLATES / name).read_text(encoding="utf-8")
    bundle = files("itables") / "html"
    yield "assets/datatables.css", (bundle / "dt_bundle.css").read_text(encoding="utf-8")
    module = base64.b64encode((bundle / "dt_bundle.js").read_bytes()).decode("ascii")
    yield (
        "assets/datatables.js",
        f'window.datatables = import("data:text/javascript;base64,{module}");\n',
    )
