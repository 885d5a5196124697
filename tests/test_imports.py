"""What a process loads: each cell is a process of its own and waits for its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "lpips", "snakemake"}
DRAWING = {"pandas", "matplotlib", "jsonschema", "diffusers", "accelerate", "skimage"}


@pytest.mark.parametrize(
    ("package", "unused"),
    [
        ("workflows.config", {*HEAVY, *DRAWING} - {"pandas"}),
        ("workflows.records", HEAVY),
        ("workflows.render", HEAVY),
        ("workflows.steps.train", {*HEAVY, *DRAWING, "pooch", "lmdb", "PIL"} - {"torch"}),
    ],
)
def test_importing_a_package_and_all_below_it_loads_nothing_heavy(
    package: str, unused: set[str]
) -> None:
    code = (
        f"import importlib, json, pkgutil, sys; room = importlib.import_module('{package}')\n"
        "for module in pkgutil.walk_packages(getattr(room, '__path__', []), f'{room.__name__}.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not unused & set(json.loads(done.stdout))
