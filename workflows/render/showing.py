"""Draw a budget's tables, figures, verdicts and pages from its records, without any training.

Each function computes everything before it writes the first file, so that an error leaves the older
files as they were.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd

from workflows.config.plan import find_plan
from workflows.files import write_bytes, write_json, write_text
from workflows.records.collect import collect, gather
from workflows.records.published import read_others, read_published
from workflows.records.state import Results, read_results
from workflows.records.verdicts import verdicts
from workflows.render.blocks import blocks
from workflows.render.collected import Collected
from workflows.render.figures import files as files_of
from workflows.render.site.gallery import Gallery
from workflows.render.site.pages import contents
from workflows.render.tables import latex, markdown, tidy
from workflows.render.verdicts import markdown as verdicts_document

PUBLISHED = Path("results/published")


def read(budget: str) -> Results:
    """A budget as its records are now; plan.json is written if it differs.

    Raises ConfigError and OSError.
    """
    results = read_results(budget)
    file = Path(results.plan.results, "plan.json")
    if find_plan(file) != results.plan:
        write_json(file, results.plan.model_dump(mode="json"))
    return results


def texts(data: Collected, published: pd.DataFrame, table: str) -> dict[str, str]:
    """A table as "csv", "md" and "tex"."""
    found = blocks(data.plan, data.measured, published, table)
    return {
        "csv": tidy(found).to_csv(index=False, lineterminator="\n"),
        "md": markdown(found, data.plan),
        "tex": latex(found, data.plan),
    }


def draw_table(results: Results, table: str) -> None:
    """Write a table as CSV, Markdown and LaTeX, and the figures that show its runs.

    Raises ConfigError and OSError.
    """
    plan, published = results.plan, read_published(PUBLISHED, results.plan)
    data = Collected(plan, **gather(plan, results.states, table), published=published)
    found = texts(data, published, table)
    folder, figures = Path(plan.results, "tables"), Path("figures", plan.budget)
    files = {folder / f"{table}.{kind}": text.encode() for kind, text in found.items()}
    for name, figure in plan.figures.items():
        if figure.table == table:
            files |= {figures / file: made for file, made in files_of(data, name, figure).items()}
    for path, content in files.items():
        write_bytes(path, content)


def draw_verdicts(results: Results) -> Gallery:
    """Write the whole budget's numbers and its verdicts. Returns what the site is made of.

    Raises ConfigError and OSError.
    """
    plan, folder = results.plan, Path(results.plan.results)
    frames = collect(plan, results.states, folder)
    published, reported = read_published(PUBLISHED, plan), read_others(PUBLISHED)
    found = verdicts(plan, frames["measured"], published)
    document = verdicts_document(found, plan)
    write_text(folder / "verdicts.csv", found.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "verdicts.md", document)
    tried = dict.fromkeys(frames["measured"]["cell"])
    records = {cell: record for cell in tried if (record := results.states[cell].train)}
    return Gallery(
        plan,
        **frames,
        published=published,
        verdicts=found,
        records=records,
        reported=reported,
    )


def draw_site(gallery: Gallery, figures: Path) -> Path:
    """Write the pages of a budget, with copies of its tables and of its figures in a folder.

    Returns the first page. The site is built in a folder beside its place, so that nobody opens
    half of a site and an error leaves the old one. Raises OSError.
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
