"""Nothing that has a version gives other numbers at that version, and a golden would notice it."""

from __future__ import annotations

import pkgutil

import pytest

from tests.goldens import (
    of_diffusion,
    of_gans,
    of_measures,
    of_methods,
    of_networks,
    of_priors_ar,
    of_priors_masked,
    of_readers,
)
from tests.goldens.golden import AGAIN, KINDS, Golden, recorded

MODULES = (
    of_methods,
    of_networks,
    of_diffusion,
    of_priors_ar,
    of_priors_masked,
    of_gans,
    of_readers,
    of_measures,
)
GOLDENS: list[Golden] = [golden for module in MODULES for golden in module.GOLDENS]
RECORDED = recorded()


def test_the_record_has_the_goldens_at_todays_versions() -> None:
    versions = {name: record["version"] for name, record in RECORDED.items()}
    assert versions == {str(golden): golden.version for golden in GOLDENS}, AGAIN
    assert len(GOLDENS) == len(RECORDED)


def test_everything_that_has_a_version_has_a_golden() -> None:
    there = {(golden.kind, golden.name) for golden in GOLDENS}
    assert there == {(kind, name) for kind, (_, entries) in KINDS.items() for name in entries}


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_numbers_are_as_recorded(golden: Golden) -> None:
    moved = golden.moved(RECORDED[str(golden)]["numbers"], golden.numbers())
    assert not moved, golden.complaint(moved)


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda one: f"{one}: {one.mutation.name}")
def test_a_mutation_breaks_the_golden(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it holds what makes the thing itself."""
    mutation = golden.mutation
    monkeypatch.setattr(mutation.target, mutation.new(pkgutil.resolve_name(mutation.target)))
    assert golden.moved(RECORDED[str(golden)]["numbers"], golden.numbers())


def test_dead_codes_come_back() -> None:
    """Whatever refreshes its codebook does so in the steps that a golden has."""
    refreshed = ("cvq_vae", "near_codevectors", "hard_features", "rq_vae", "vq_vae_expiry")
    for golden in GOLDENS:
        if golden.name in refreshed:
            numbers = RECORDED[str(golden)]["numbers"]
            assert numbers["revived"] > 0 or golden.variant == "offline", str(golden)
            assert numbers["refreshes"] == 1 or golden.variant != "offline", str(golden)
