"""Snakemake's report: what is in it, where, with which words, and that it opens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from workflows.data import describe, names
from workflows.grid import load_grid
from workflows.planning import FIGURES

ROOT = Path(__file__).parent.parent.parent
BUDGET = "smoke"
TABLES = list(load_grid(BUDGET, {name: describe(name) for name in names()}).tables)
PAGE = "<!doctype html><title>Some table</title><p>The table itself.</p>"
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>'


def ask(folder: Path) -> subprocess.CompletedProcess[str]:
    """Snakemake's answer to a request for a report on the results in a folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "1", "--config", f"budget={BUDGET}"]
    command += ["--report", "report.html", "--", "all_tables"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on results that nobody measured: files with little in them, at their places."""
    folder = tmp_path_factory.mktemp("results")
    files = {f"results/{BUDGET}/tables/{table}.html": PAGE for table in TABLES}
    files |= {f"figures/{BUDGET}/{figure}.svg": IMAGE for figure in FIGURES}
    files |= {f"results/{BUDGET}/verdicts.html": PAGE, f"results/{BUDGET}/measured.csv": "table\n"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "results" / "published").symlink_to(ROOT / "results" / "published")
    done = ask(folder)
    assert done.returncode == 0, done.stderr
    return folder / "report.html"


def variable(report: Path, name: str) -> dict[str, Any]:
    """A variable of the report's script."""
    found = re.search(rf"var {name} = (\{{.*\}});$", report.read_text(encoding="utf-8"), re.M)
    assert found
    return json.loads(found[1])


def test_every_result_has_its_place(report: Path) -> None:
    places = variable(report, "categories")
    assert set(places) == {"Tables", "Figures", "Verdicts", "Numbers"}
    assert sorted(Path(file).stem for file in places["Tables"]["Other"]) == sorted(TABLES)
    drawn = [Path(file).stem for files in places["Figures"].values() for file in files]
    assert sorted(drawn) == sorted(FIGURES)
    tables = {"Methods", "Code dimension", "Codebook size", "Codevectors in the plane"}
    tables |= {"Generation: LSUN", "Generation: FFHQ and ImageNet"}
    assert set(places["Figures"]) == tables
    assert [Path(file).name for file in places["Verdicts"]["Other"]] == ["verdicts.html"]
    assert [Path(file).name for file in places["Numbers"]["Other"]] == ["measured.csv"]


def test_every_result_has_a_label_and_a_caption(report: Path) -> None:
    results = variable(report, "results")
    assert len(results) == len(TABLES) + len(FIGURES) + 2
    for file, result in results.items():
        assert result["labels"], file
        # A word of its own after the title, and the budget; nothing that was left unfilled.
        assert re.search(r"<strong>[^<]+\.</strong> \w", result["caption"]), file
        assert f"Budget {BUDGET}, " in result["caption"], file
        assert "system-message" not in result["caption"], file
        assert "{" not in result["caption"], file


def test_a_result_that_is_missing_is_named(report: Path) -> None:
    file = report.parent / "figures" / BUDGET / "dimensionality.svg"
    file.rename(file.with_suffix(".away"))
    done = ask(report.parent)
    file.with_suffix(".away").rename(file)
    assert done.returncode != 0
    assert "dimensionality.svg marked for report but does not exist" in done.stderr


def test_it_opens_without_a_network(page: Page, complaints: list[str], report: Path) -> None:
    page.goto(report.as_uri())
    page.get_by_role("heading", name="Codebook benchmark").wait_for()
    menu = page.locator("nav")
    page.locator(".prose").get_by_role("link", name="Tables").click()
    line = menu.locator("tbody tr", has_text="Methods").locator("a")
    line.first.click()
    page.frame_locator("iframe").get_by_text("The table itself.").wait_for()
    line.last.click()
    menu.get_by_text("One block for each dataset and protocol").wait_for()
    page.goto(report.as_uri())
    menu.get_by_text("Figures", exact=True).click()
    menu.get_by_text("Code dimension", exact=True).click()
    menu.locator("tbody tr").locator("a").first.click()
    page.locator("#app img[src^='data:image/svg+xml']").last.wait_for()
    assert complaints == []
