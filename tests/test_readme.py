"""The README shows the numbers that are published here."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from workflows.render.readme import END, METRICS, START, main, render

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
