"""Draw a budget's tables, figures, verdicts and pages from its records, without any training.

Each function computes everything before it writes the first file, so that an error leaves the older
files as they were.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from workflows.files import write_bytes, write_text
from workflows.records import PUBLISHED
from workflows.records.collect import collect, gather
from workflows.records.published import read_published
from workflows.records.state import Results
from workflows.render.blocks import blocks
from workflows.render.collected import Collected
from workflows.render.figures import files as figure_files
from workflows.render.site.gallery import Gallery
from workflows.render.site.pages import contents
from workflows.render.tables import latex, markdown, tidy
from workflows.render.verdicts import markdown as verdicts_document


def texts(data: Collected, table: str) -> dict[str, str]:
    """Return a table's text in the formats "csv", "md" and "tex"."""
    table_blocks = blocks(data.plan, data.measured, data.published, table)
    return {
        "csv": tidy(table_blocks).to_csv(index=False, lineterminator="\n"),
        "md": markdown(table_blocks, data.plan),
        "tex": latex(table_blocks, data.plan),
    }


def draw_table(results: Results, table: str) -> None:
    """Write a table as CSV, Markdown and LaTeX, and the figures that show its runs.

    Raises ConfigError and OSError.
    """
    plan, published = results.plan, read_published(PUBLISHED, results.plan)
    data = Collected(plan, **gather(plan, results.states, table), published=published)
    folder = Path(plan.results, "tables")
    files = {folder / f"{table}.{kind}": text.encode() for kind, text in texts(data, table).items()}
    for name, figure in plan.figures.items():
        if figure.table == table:
            for file, content in figure_files(data, name, figure).items():
                files[Path("figures", plan.budget, file)] = content
    for path, content in files.items():
        write_bytes(path, content)


def draw_verdicts(results: Results) -> Gallery:
    """Write the whole budget's numbers and verdicts. Returns what `draw_site` needs.

    Raises ConfigError and OSError.
    """
    plan, folder = results.plan, Path(results.plan.results)
    frames = collect(plan, results.states, folder)
    gallery = Gallery(plan, **frames, published=read_published(PUBLISHED, plan))
    document = verdicts_document(gallery.verdicts, plan)
    write_text(folder / "verdicts.csv", gallery.verdicts.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "verdicts.md", document)
    return gallery


def draw_site(gallery: Gallery, figures: Path) -> Path:
    """Write the pages of a budget, with copies of its tables and of the figures in a folder.

    Returns the first page. The site is built in a temporary folder, so that nobody opens half of a
    site and an error leaves the old site as it was. Raises OSError.
    """
    results = Path(gallery.plan.results)
    site, fresh = results / "site", results / f".site.{os.getpid()}"
    try:
        for path, content in contents(gallery, results, figures):
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content.encode() if isinstance(content, str) else content)
        shutil.rmtree(site, ignore_errors=True)
        fresh.replace(site)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return site / "index.html"
