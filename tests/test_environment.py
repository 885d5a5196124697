"""The lock, environment.yml and what is installed say the same."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from workflows.config.environment import direct, locked, render

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_environment_is_what_the_lock_says() -> None:
    text = (ROOT / "environment.yml").read_text()
    assert text == render(PYPROJECT, LOCK)
    pip = yaml.safe_load(text)["dependencies"][-1]["pip"]
    assert {Requirement(pin).name for pin in pip} == set(direct(PYPROJECT))


def test_lock_satisfies_every_direct_dependency() -> None:
    project = tomllib.loads(PYPROJECT)["project"]
    pins = locked(LOCK)
    for entry in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(entry)
        for pin in pins[wanted.name.lower()]:
            version = str(Requirement(pin).specifier).removeprefix("==")
            assert wanted.specifier.contains(version), f"{pin} does not satisfy {entry}"


def test_installed_versions_are_the_locked_ones() -> None:
    for name in direct(PYPROJECT):
        requirements = [Requirement(pin) for pin in locked(LOCK)[name]]
        (here,) = [r for r in requirements if r.marker is None or r.marker.evaluate()]
        assert here.specifier.contains(importlib.metadata.version(name)), name
