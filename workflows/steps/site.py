"""The gallery of a budget's results: `python -m workflows.steps.site --help`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from workflows.files import write_text
from workflows.reading import read_csv, read_json, read_plan
from workflows.render import cell_figures
from workflows.render.collected import Collected
from workflows.render.plan import Plan
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.site.pages import assets, pages
from workflows.schema import ConfigError
from workflows.steps.tables import read_published

COLLECTED = ("measured", "curves", "codes")


def read(results: Path, published: Path) -> Gallery:
    """What a budget's results folder holds. Raises ConfigError, OSError, KeyError, ValueError."""
    plan = Plan.of(read_plan(results / "plan.json"))
    measured, curves, codes = (read_csv(results / f"{name}.csv", name) for name in COLLECTED)
    return Gallery(
        Collected(plan, measured, curves, codes, results / "reconstructions"),
        read_published(published, plan),
        read_csv(results / "verdicts.csv", "verdicts"),
        dict(_records(plan, frozenset(measured["cell"]))),
    )


def _records(plan: Plan, collected: frozenset[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The record of every cell whose numbers were collected."""
    for cell, about in plan.cells.items():
        file = Path(about["folder"]) / "train.json"
        if cell in collected and file.is_file():
            yield cell, read_json(file, "record")


def copied(results: Path, figures: Path, plan: Plan) -> Iterator[tuple[Path, str]]:
    """(file, path below the site's root) of what the site offers as it is."""
    for name in (*COLLECTED, "verdicts"):
        yield results / f"{name}.csv", f"data/{name}.csv"
    for table in plan.tables:
        for kind in ("csv", "md", "tex"):
            yield results / "tables" / f"{table}.{kind}", f"data/tables/{table}.{kind}"
    for name, figure in plan.figures.items():
        for kind in figure["data"]:
            source = results / "collected" / figure["table"] / f"{kind}.csv"
            yield source, links.data(figure["table"], kind)
        for file in (f"{name}.svg", f"{name}.png", *figure["more"]):
            yield figures / file, f"figures/{file}"


def drawings(gallery: Gallery, cell: str) -> Iterator[tuple[str, Figure]]:
    """(kind, figure) of a cell that was trained."""
    data, row = gallery.data, gallery.places(cell)[0][1]
    others = gallery.others(cell)
    if cell in gallery.logged:
        log, behind = (data.curves[data.curves["cell"].isin(of)] for of in ([cell], others))
        yield "curves.svg", cell_figures.curves(log, behind, row, gallery.plan.stage_of(cell))
    if cell in gallery.counted:
        counts, *rest = (
            data.codes.loc[data.codes["cell"] == name, "count"].to_numpy()
            for name in [cell, *others]
            if name in gallery.counted
        )
        yield "codes.svg", cell_figures.codes(counts, rest, row)


def build(gallery: Gallery, results: Path, figures: Path, out: Path) -> None:
    """Write the whole site into the empty folder `out`."""
    for path, content in (*assets(), *pages(gallery)):
        write_text(out / path, content)
    for source, path in copied(results, figures, gallery.plan):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, out / path)
    (out / "pictures").mkdir()
    for cell in gallery.plan.cells:
        for kind, name in (("", "reconstructions.png"), ("neighbours", "neighbours.png")):
            picture = gallery.data.picture(cell, kind)
            if picture is not None:
                shutil.copyfile(picture, out / links.picture(cell, name))
        for kind, figure in drawings(gallery, cell):
            figure.savefig(out / links.picture(cell, kind), metadata={"Date": None})


def run(results: Path, published: Path, figures: Path, out: Path) -> None:
    """Build the site anew. Raises ConfigError, OSError and KeyError."""
    # Built beside its place, so that nobody opens half of a site.
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        build(read(results, published), results, figures, fresh)
        shutil.rmtree(out, ignore_errors=True)
        fresh.replace(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="such as results/embedded")
    parser.add_argument("--published", type=Path, required=True, help="folder of published CSVs")
    parser.add_argument("--figures", type=Path, required=True, help="such as figures/embedded")
    parser.add_argument("--out", type=Path, required=True, help="the site's folder, made anew")
    arguments = parser.parse_args()
    try:
        run(arguments.results, arguments.published, arguments.figures, arguments.out)
    except (ConfigError, OSError) as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"site: {arguments.results}: key {error} is missing", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
