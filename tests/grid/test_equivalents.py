"""Code that computes the same numbers as the code it replaced is not other code."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from workflows import equivalents
from workflows.schema import ConfigError

A, B, C, D = (letter * 16 for letter in "abcd")


def declared(folder: Path, *codes: dict[str, str]) -> Path:
    file = folder / "equivalents.yaml"
    changes = [{"change": "Faster", "shown": ["a test"], "codes": pairs} for pairs in codes]
    file.write_text(yaml.safe_dump({"changes": changes}))
    return file


def test_every_code_of_a_chain_goes_by_its_first(tmp_path: Path) -> None:
    earlier = equivalents.load(declared(tmp_path, {A: B, "1" * 16: "2" * 16}, {B: C}))
    assert [equivalents.first(code, earlier) for code in (A, B, C, D)] == [A, A, A, D]


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        ([{A: B}, {A: C}], f"changes/1/codes: {A}: {C}: {A} was replaced already"),
        ([{A: C}, {B: C}], f"{C} replaced another, or is older than {B}"),
        ([{A: A}], f"{A} replaced another, or is older than {A}"),
        ([{A: B}, {B: A}], f"{A} replaced another, or is older than {B}"),
        ([{"xyz": B}], "xyz"),
        ([{}], "codes"),
    ],
)
def test_a_contradiction_is_refused(tmp_path: Path, codes: list[dict[str, str]], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        equivalents.load(declared(tmp_path, *codes))


def test_what_is_declared_is_held_by_what_it_names() -> None:
    """Every entry names tests and measurements that exist."""
    declared = yaml.safe_load(equivalents.FILE.read_text())["changes"]
    assert declared
    for change in declared:
        for file in change["shown"]:
            assert (equivalents.FILE.parents[1] / file).is_file(), file


def test_todays_code_is_listed_by_what_it_is_of() -> None:
    found = equivalents.today()
    assert {"train cvq_vae convnet", "train ldm", "evaluate", "reference"} < found.keys()
    assert all(len(code) == 16 for code in found.values())
