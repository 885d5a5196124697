"""environment.yml from the lock: `python -m workflows.environment [--check]`."""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = """\
# For conda users; generated from pyproject.toml and requirements.lock by
# `python -m workflows.environment`. The direct dependencies at their locked versions; two packages
# of metric weights declare libraries that nothing here imports, which pip will add.
"""


def locked(lock: str) -> dict[str, list[str]]:
    """Package name -> its pins in the lock, with environment markers."""
    pins: dict[str, list[str]] = {}
    for line in lock.splitlines():
        if match := re.match(r"^([A-Za-z0-9._-]+)==([^ ]+)( ; .*?)? \\$", line):
            pin = f"{match[1]}=={match[2]}{match[3] or ''}"
            pins.setdefault(match[1], []).append(pin)
    return pins


def direct(pyproject: str) -> list[str]:
    """Names of the direct dependencies, development ones included, sorted."""
    project = tomllib.loads(pyproject)["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    return sorted(re.split(r"[^A-Za-z0-9._-]", entry)[0].lower() for entry in wanted)


def render(pyproject: str, lock: str) -> str:
    """The text of environment.yml."""
    pins = locked(lock)
    lines = [
        f"      - {pin!r}".replace("'", '"') for name in direct(pyproject) for pin in pins[name]
    ]
    head = "name: codebook-benchmark\nchannels:\n  - conda-forge\ndependencies:\n"
    return HEADER + head + "  - python=3.11\n  - pip\n  - pip:\n" + "\n".join(lines) + "\n"


def main() -> int:
    """Write environment.yml, or with --check say whether it is what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = render((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text())
    file = ROOT / "environment.yml"
    if check:
        if file.read_text() != text:
            print(f"{file.name} differs; run python -m workflows.environment", file=sys.stderr)
            return 1
        return 0
    file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
