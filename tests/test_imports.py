"""What a process loads: each cell is a process of its own and waits for its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "lpips", "snakemake"}
DRAWING = {"matplotlib", "jsonschema", "diffusers", "accelerate", "skimage"}


@pytest.mark.parametrize(
    ("packages", "unused"),
    [
        (["config"], {*HEAVY, *DRAWING}),
        (["records", "render"], HEAVY),
        (["steps.train"], {*HEAVY, *DRAWING, "pandas", "pooch", "lmdb", "PIL"} - {"torch"}),
    ],
)
def test_importing_packages_and_all_below_them_loads_nothing_heavy(
    packages: list[str], unused: set[str]
) -> None:
    code = f"""
import importlib, json, pkgutil, sys
for package in {packages}:
    room = importlib.import_module(f"workflows.{{package}}")
    for module in pkgutil.walk_packages(getattr(room, "__path__", []), f"{{room.__name__}}."):
        importlib.import_module(module.name)
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not unused & set(json.loads(done.stdout))
