"""Write environment.yml from the lock: `python -m workflows.config.environment`."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = """\
# The direct dependencies at their locked versions, for conda users. This file is made from
# pyproject.toml and requirements.lock by `python -m workflows.config.environment`. Pip will add
# libraries that two packages of metric weights declare and nothing here imports.
name: codebook-benchmark
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def locked(lock: str) -> dict[str, list[str]]:
    """Return package name -> its pins in the lock, with environment markers."""
    pins: dict[str, list[str]] = {}
    for pin, name in re.findall(r"^(([\w.-]+)==[^ ]+(?: ; .*?)?) \\$", lock, re.MULTILINE):
        pins.setdefault(name, []).append(pin)
    return pins


def direct(pyproject: str) -> list[str]:
    """Return the names of the direct dependencies, with those for development, sorted."""
    project = tomllib.loads(pyproject)["project"]
    entries = project["dependencies"] + project["optional-dependencies"]["dev"]
    return sorted(re.split(r"[^A-Za-z0-9._-]", entry)[0].lower() for entry in entries)


def render(pyproject: str, lock: str) -> str:
    """Return the text of environment.yml."""
    pins = locked(lock)
    lines = [f"      - {json.dumps(pin)}\n" for name in direct(pyproject) for pin in pins[name]]
    return HEADER + "".join(lines)


if __name__ == "__main__":
    files = [(ROOT / name).read_text("utf-8") for name in ("pyproject.toml", "requirements.lock")]
    (ROOT / "environment.yml").write_text(render(*files), "utf-8")
