"""The README shows the numbers that are published here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workflows.errors import BenchmarkError
from workflows.render import readme

ROOT = Path(__file__).parent.parent


def test_the_table_is_the_published_one() -> None:
    readme.main(check=True)


def test_an_old_number_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, start, results = text.partition(readme.START)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(before + start + results.replace("±", "+", 1))
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
