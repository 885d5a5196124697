"""The rooms' walls: who may import whom, read from the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("models", "baselines", "workflows")
# Seconds and memory that rendering has no use for.
HEAVY = {"torch", "torchvision", "lpips", "snakemake"}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize(
    ("room", "forbidden", "at_least"),
    [
        ("models", ("baselines", "workflows"), 10),
        ("baselines", ("workflows",), 4),
        ("workflows/metrics", ("models", "baselines", "workflows", "pathlib", "os", "json"), 2),
    ],
)
def test_room_imports_nothing_beyond_its_wall(
    room: str, forbidden: tuple[str, ...], at_least: int
) -> None:
    files = modules(room)
    assert len(files) >= at_least
    for file in files:
        for name in imported(file):
            inside = name.startswith(room.replace("/", "."))
            beyond = name.startswith(tuple(f"{wall}." for wall in forbidden)) or name in forbidden
            assert inside or not beyond, f"{file.relative_to(ROOT)} imports {name}"


def test_render_imports_itself_and_two_modules_of_ours() -> None:
    """Those it may are listed, not those it may not: any other leads to torch sooner or later."""
    allowed = {"workflows.schema", "workflows.intervals", "workflows.render"}
    # The command in __main__ reads records for what the others draw.
    files = [file for file in modules("workflows/render") if file.name != "__main__.py"]
    assert len(files) > 20
    for file in files:
        ours = {name for name in imported(file) if name.split(".")[0] in ROOMS}
        beyond = {name for name in ours - allowed if not name.startswith("workflows.render.")}
        assert not beyond, f"{file.relative_to(ROOT)} imports {', '.join(sorted(beyond))}"
        assert not {name.split(".")[0] for name in imported(file)} & HEAVY, file.relative_to(ROOT)


def test_all_of_render_together_loads_nothing_heavy() -> None:
    """Whoever imports it, in however many steps."""
    code = (
        "import importlib, json, pkgutil, sys, workflows.render as room\n"
        "found = [m.name for m in pkgutil.walk_packages(room.__path__, room.__name__ + '.')]\n"
        "for name in found: importlib.import_module(name)\n"
        "print(json.dumps([found, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found, loaded = json.loads(done.stdout)
    # All but the package itself.
    assert len(found) == len(modules("workflows/render")) - 1
    assert not HEAVY & set(loaded)


def test_only_the_registry_names_models_and_baselines() -> None:
    files = [file for file in modules("workflows") if file.name != "registry.py"]
    assert len(files) > 10
    for file in files:
        for name in imported(file):
            # Whoever draws anything draws from the same streams.
            if name != "models.streams":
                assert not name.startswith(("models", "baselines")), f"{file}: {name}"


def test_training_imports_no_metric_network_library() -> None:
    """Those imports cost seconds, which every cell would pay."""
    code = (
        "import sys, workflows.steps.train; "
        "print([m for m in ('torchvision', 'lpips', 'pytorch_fid', 'skimage', 'matplotlib')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_module_says_a_thing_twice() -> None:
    """No statement of a module's own stands in it again, as one may that was merged twice."""
    rooms = ("models", "baselines", "workflows", "benchmarks")
    files = [file for room in rooms for file in modules(room)]
    assert len(files) > 100
    for file in files:
        seen: dict[str, int] = {}
        for node in ast.parse(file.read_text()).body:
            first = seen.setdefault(ast.dump(node), node.lineno)
            assert first == node.lineno, f"{file.relative_to(ROOT)}: {node.lineno} repeats {first}"


def test_no_rule_runs_python_inside_snakemake() -> None:
    files = [ROOT / "Snakefile", *(ROOT / "workflows" / "rules").glob("*.smk")]
    assert len(files) >= 4
    for file in files:
        assert "\n    run:" not in file.read_text(), file
    assert len(files[0].read_text().splitlines()) <= 45


def test_no_address_of_a_registry() -> None:
    hosts = [
        ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))
    ]
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert len(files) > 40
    for file in files:
        content = file.read_bytes().decode("utf-8", "ignore")
        for host in hosts:
            assert host not in content, f"{file.relative_to(ROOT)} names {host}"
