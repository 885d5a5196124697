"""The lock, environment.yml and what is installed say the same."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from workflows.environment import direct, locked, render

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_environment_is_what_the_lock_says() -> None:
    text = (ROOT / "environment.yml").read_text()
    assert text == render(PYPROJECT, LOCK)
    pip = yaml.safe_load(text)["dependencies"][-1]["pip"]
    assert {Requirement(pin).name for pin in pip} == set(direct(PYPROJECT))
    assert len(direct(PYPROJECT)) > 30


def test_lock_satisfies_every_direct_dependency() -> None:
    project = tomllib.loads(PYPROJECT)["project"]
    pins = locked(LOCK)
    for entry in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(entry)
        for pin in pins[wanted.name.lower()]:
            version = str(Requirement(pin).specifier).removeprefix("==")
            assert wanted.specifier.contains(version), f"{pin} does not satisfy {entry}"


def test_every_pin_has_a_hash_and_no_address() -> None:
    blocks = [block for block in LOCK.split("\n\n") if block.strip()]
    pins = [line for line in LOCK.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(pins) > 100
    assert blocks
    for line, following in zip(LOCK.splitlines(), LOCK.splitlines()[1:], strict=False):
        if line in pins:
            assert following.strip().startswith("--hash=sha256:"), line
    assert "://" not in LOCK


@pytest.mark.parametrize("name", direct(PYPROJECT))
def test_installed_version_is_the_locked_one(name: str) -> None:
    requirements = [Requirement(pin) for pin in locked(LOCK)[name]]
    here = [r for r in requirements if r.marker is None or r.marker.evaluate()]
    assert len(here) == 1
    assert here[0].specifier.contains(importlib.metadata.version(name))
