"""The README shows the numbers that are published here."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.config.test_refused import room
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.planning import make_plan
from workflows.render.readme import END, METRICS, START, main, render

__all__ = ["room"]
ROOT = Path(__file__).parent.parent


def test_the_table_is_the_published_one() -> None:
    main(check=True)


def test_an_old_number_is_noticed() -> None:
    columns = {"row": ["A"], "protocol": ["as_published"], "rFID images": [64], "seeds": [1]}
    numbers = {metric: [0.5] for metric in METRICS} | {f"{m} published": [""] for m in METRICS}
    numbers |= {f"{metric} {end}": [0.5] for metric in METRICS for end in ("low", "high")}
    outcomes = ["reproduced", "undecided", "undecided", "contradicted"]
    verdicts = pd.DataFrame({"verdict": outcomes, "standing": ["stated"] * 3 + ["control"]})
    table = pd.concat(
        [pd.DataFrame({**columns, **numbers, "dataset": [name]}) for name in ("mnist", "cifar10")]
    )
    old = render(f"{START}{END}", table, verdicts, ["seen"], "made up")
    assert "| A " in old
    assert "50.0" in old
    # Verdicts on the paper are counted, and those on controls of this project are counted apart.
    assert "1 reproduced, 2 undecided" in old
    table["usage"] = 0.6
    assert render(old, table, verdicts, ["seen"], "made up") != old
    with pytest.raises(ValueError, match="needs the marks"):
        render("nothing", table, verdicts, ["seen"], "made up")


def test_links_lead_to_files() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        for link in links:
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_recipe_for_own_images_trains_the_methods_on_them_and_nothing_else(room: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    dataset, budget = re.findall(r"```yaml\n(.*?)```", readme.split("### Your own images")[1], re.S)
    (room / "datasets/my_images.yaml").write_text(dataset, encoding="utf-8")
    (room / "budgets/mine.yaml").write_text(budget, encoding="utf-8")
    grid = load_grid("mine", read_datasets(room), room)
    assert {row.table for row in grid.rows} == {"methods"}
    assert len(grid.cells) == len(grid.tables["methods"].rows)
    assert {cell.dataset for cell in grid.cells.values()} == {"my_images"}
    assert re.search(r"make cell BUDGET=mine CELL=(\S+)", readme)[1] in grid.cells
    assert set(make_plan(grid, read_datasets(room), {}, room=room).cells) == set(grid.cells)
