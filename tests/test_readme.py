"""The README shows the numbers that are published here, and words that work."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from workflows.readme import END, METRICS, START, main, render

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["readme", "--check"])
    assert main() == 0
    assert README.index(START) < README.index("## Budgets")


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
    assert "rFID over 64 images" in old
    assert "Of 3 verdicts on what the paper or its poster states" in old
    assert "Counted apart: 1 on controls of this project." in old
    assert "1 reproduced, 2 undecided" in old
    assert "Published: seen ([" in old
    assert "made up instead of the published 500 over all at 1,024, 1 seed, as published" in old
    table["usage"] = 0.6
    assert render(old, table, verdicts, ["seen"], "made up") != old
    with pytest.raises(ValueError, match="needs the marks"):
        render("nothing", table, verdicts, ["seen"], "made up")


def test_every_file_it_points_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 5
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_make_target_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z_]+)", README, re.MULTILINE))
    assert {"all_tables", "test", "cells", "status", "cell", "site"} <= named
    for target in named:
        assert f"\n{target}:" in makefile, target
