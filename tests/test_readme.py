"""The README shows the numbers that are published here, and recipes of the docs work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.config.test_refused import room
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.planning import make_plan
from workflows.errors import BenchmarkError
from workflows.render import readme

__all__ = ["room"]
ROOT = Path(__file__).parent.parent


def test_the_table_is_the_published_one_and_an_old_number_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The results are read once for all that follows.
    results = readme.read_results(readme.BUDGET)
    frames = readme.gather(results.plan, results.states)
    monkeypatch.setattr(readme, "read_results", lambda _: results)
    monkeypatch.setattr(readme, "gather", lambda *_: frames)
    readme.main(check=True)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, start, after = text.partition(readme.START)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(before + start + after.replace(" / ", " : ", 1))
    with pytest.raises(BenchmarkError, match=r"README\.md differs"):
        readme.main(check=True)
    readme.main(check=False)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(BenchmarkError, match="needs the marks"):
        readme.main(check=True)


def test_links_lead_to_files() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        for link in links:
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_recipe_for_own_images_trains_the_methods_on_them_and_nothing_else(room: Path) -> None:
    text = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    dataset, budget = re.findall(r"```yaml\n(.*?)```", text.split("## Your own images")[1], re.S)
    (room / "datasets/my_images.yaml").write_text(dataset, encoding="utf-8")
    (room / "budgets/mine.yaml").write_text(budget, encoding="utf-8")
    grid = load_grid("mine", read_datasets(room), room)
    assert {row.table for row in grid.rows} == {"methods"}
    assert len(grid.cells) == len(grid.tables["methods"].rows)
    assert {cell.dataset for cell in grid.cells.values()} == {"my_images"}
    assert re.search(r"make cell BUDGET=mine CELL=(\S+)", text)[1] in grid.cells
    assert set(make_plan(grid, read_datasets(room), {}, room=room).cells) == set(grid.cells)
