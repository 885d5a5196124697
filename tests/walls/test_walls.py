"""The rooms' walls: who may import whom, read from the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("models", "baselines", "workflows")
RENDER = ("workflows.render", "workflows.schema", "workflows.intervals")
# Libraries that cost seconds and memory for which rendering has no use.
HEAVY = {"torch", "torchvision", "lpips", "snakemake"}


def imports(room: str, besides: str) -> list[tuple[Path, str]]:
    """Each module of a room and each name that it imports. besides: a file's name to leave out."""
    found = []
    for file in sorted((ROOT / room).rglob("*.py")):
        if file.name == besides:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found += [(file, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                found.append((file, node.module or ""))
    return found


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("room", "forbidden", "allowed", "besides"),
    [
        ("models", OURS, ("models",), ""),
        ("baselines", OURS, ("baselines", "models"), ""),
        ("workflows/metrics", (*OURS, "pathlib", "os", "json"), ("workflows.metrics",), ""),
        # The command in __main__ reads the records that the others draw.
        ("workflows/render", (*OURS, *HEAVY), RENDER, "__main__.py"),
        # Everything that draws random numbers draws them from the same streams.
        ("workflows", ("models", "baselines"), ("models.streams",), "registry.py"),
    ],
)
def test_a_room_imports_nothing_beyond_its_wall(
    room: str, forbidden: tuple[str, ...], allowed: tuple[str, ...], besides: str
) -> None:
    found = imports(room, besides)
    assert found
    for file, name in found:
        beyond = within(name, forbidden) and not within(name, allowed)
        assert not beyond, f"{file.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize(
    ("package", "unused"),
    [
        ("workflows.render", HEAVY),
        # Every cell would pay for the seconds that these take to import.
        (
            "workflows.steps.train",
            {"torchvision", "lpips", "pytorch_fid", "skimage", "matplotlib"},
        ),
    ],
)
def test_importing_a_module_and_all_below_it_loads_nothing_heavy(
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


def test_no_rule_runs_python_inside_snakemake() -> None:
    for file in [ROOT / "Snakefile", *(ROOT / "workflows" / "rules").glob("*.smk")]:
        assert "\n    run:" not in file.read_text(), file
