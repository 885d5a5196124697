"""Snakemake's report, and tables that a failed job leaves as they were: Snakemake is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import plans

ROOT = Path(__file__).parents[2]
BUDGET = "smoke"
PLAN = plans.real(BUDGET)
# The budget has none of its cells, so that nothing is trained for it.
TABLE = "large_codebooks"


def ask(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Snakemake's answer about the results in a folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "1", "--config", f"budget={BUDGET}"]
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": binaries}
    return subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, env=environment
    )


def variable(report: Path, name: str) -> dict[str, Any]:
    """A variable of the report's script."""
    found = re.search(rf"var {name} = (\{{.*\}});$", report.read_text(encoding="utf-8"), re.M)
    assert found
    return json.loads(found[1])


def test_every_result_has_its_place_and_a_caption(tmp_path: Path) -> None:
    results, figures = tmp_path / "results" / BUDGET, tmp_path / "figures" / BUDGET
    files = [
        results / f"tables/{name}.{kind}" for name in PLAN.tables for kind in ("md", "csv", "tex")
    ]
    files += [figures / f"{name}.svg" for name, figure in PLAN.figures.items() if figure.table]
    files += [results / name for name in ("measured.csv", "verdicts.csv", "verdicts.md")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("<svg/>", encoding="utf-8")
    (tmp_path / "results" / "published").symlink_to(ROOT / "results" / "published")
    done = ask(tmp_path, "--report", "report.html", "--", "all_tables")
    assert done.returncode == 0, done.stderr
    shown = variable(tmp_path / "report.html", "results")
    assert {tmp_path / file for file in shown} == set(files)
    for result in shown.values():
        assert "<p>" in result["caption"]
        assert "system-message" not in result["caption"]
    places = variable(tmp_path / "report.html", "categories")
    assert set(places) == {"Tables", "Figures", "Verdicts", "Numbers"}
    assert set(places["Tables"]) == {table.title for table in PLAN.tables.values()}


def test_a_table_that_cannot_be_drawn_is_left_as_it_was(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    table = tmp_path / "results" / BUDGET / "tables" / f"{TABLE}.md"
    done = ask(tmp_path, "--", str(table.relative_to(tmp_path)))
    assert done.returncode == 0, done.stderr
    whole = table.read_text(encoding="utf-8")
    assert "not at this budget" in whole
    with (tmp_path / "results" / "published" / "methods.csv").open("a") as lines:
        lines.write("cut short")
    done = ask(tmp_path, "--", str(table.relative_to(tmp_path)))
    assert done.returncode != 0
    assert "methods.csv: " in done.stderr + done.stdout
    assert table.read_text(encoding="utf-8") == whole
