"""Nothing that has a version gives other numbers at that version, and a golden would notice it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.goldens.every import GOLDENS
from tests.goldens.golden import AGAIN, KINDS, Golden, Wrong, recorded

RECORDED = recorded()
BROKEN = [
    pytest.param(golden, wrong, id=f"{golden}: {wrong.name}")
    for golden in GOLDENS
    for wrong in golden.mutations
]


def record_of(golden: Golden) -> dict[str, Any]:
    assert str(golden) in RECORDED, f"{golden} is not recorded: {AGAIN}"
    return RECORDED[str(golden)]


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_numbers_are_as_recorded(golden: Golden) -> None:
    record = record_of(golden)
    moved = golden.moved(record["numbers"], golden.computed())
    assert not moved, golden.complaint(moved)


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_the_recorded_version_is_todays(golden: Golden) -> None:
    version = record_of(golden)["version"]
    assert version == golden.version, (
        f"{golden} is recorded at version {version}, and is version {golden.version} now: {AGAIN}"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_has_a_version_has_a_golden(kind: str) -> None:
    there = {golden.name for golden in GOLDENS if golden.kind == kind}
    for name in KINDS[kind].versions():
        assert name in there, f"{kind} '{name}' has a version and no golden: add one, then {AGAIN}"
    gone = there - KINDS[kind].versions().keys()
    assert not gone, f"goldens of {kind} {sorted(gone)}, of which there is no version"


def test_nothing_else_is_recorded() -> None:
    names = [str(golden) for golden in GOLDENS]
    assert len(set(names)) == len(names)
    assert not RECORDED.keys() - set(names), f"recorded without a golden: {AGAIN}"


@pytest.mark.parametrize(("golden", "mutation"), BROKEN)
def test_a_mutation_breaks_the_golden(
    golden: Golden, mutation: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it holds what makes the thing itself."""
    mutation.apply(monkeypatch)
    assert golden.moved(record_of(golden)["numbers"], golden.computed())


def test_everything_has_a_mutation() -> None:
    changed = {(golden.kind, golden.name) for golden in GOLDENS if golden.mutations}
    assert changed == {(golden.kind, golden.name) for golden in GOLDENS}


def test_dead_codes_come_back() -> None:
    """Whatever refreshes its codebook does so in the steps that a golden has."""
    for golden in GOLDENS:
        if golden.name not in ("cvq_vae", "near_codevectors", "hard_features", "rq_vae"):
            continue
        numbers = record_of(golden)["numbers"]
        if golden.variant == "offline":
            assert numbers["refreshes"] == 1
        else:
            assert numbers["revived"] > 0, str(golden)
