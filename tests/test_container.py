"""The image's files: what Containerfile copies is there, pinned, and enough to run the workflow."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
KNOWN = {"FROM", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions and their arguments, lines that go on joined."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, rest in (x.split(" ", 1) for x in joined.splitlines() if x)]


def arguments(word: str) -> list[str]:
    found = [rest for name, rest in instructions() if name == word]
    assert found, word
    return found


def ignored() -> tuple[list[str], list[str]]:
    """What .dockerignore keeps, and the names that are left out of that again."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything that is not named stays out"
    kept = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    return kept, [rule.removeprefix("**/") for rule in rules[1:] if not rule.startswith("!")]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `COPY . .` fills: the kept files and no others."""
    folder = tmp_path_factory.mktemp("image")
    kept, out = ignored()
    leave = shutil.ignore_patterns(*out)
    for name in kept:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, ignore=leave)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


def test_only_known_instructions_in_an_order_that_builds() -> None:
    words = [word for word, _ in instructions()]
    assert set(words) == KNOWN
    assert words[0] == "FROM"
    assert words.count("FROM") == words.count("ENTRYPOINT") == words.count("CMD") == 1
    # What runs is the user's, what is installed is root's.
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in ("RUN", "COPY"))


def test_the_python_is_a_pinned_one_that_the_project_takes() -> None:
    (base,) = arguments("FROM")
    version = re.fullmatch(r"python:(\d+\.\d+)-slim-[a-z]+", base)
    assert version, base
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert SpecifierSet(project["requires-python"]).contains(version[1])
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python={version[1]}" in conda


def test_the_lock_is_installed_by_its_hashes_and_whole() -> None:
    (install,) = [shlex.split(rest) for rest in arguments("RUN") if rest.startswith("pip ")]
    assert install[:2] == ["pip", "install"]
    assert {"--require-hashes", "--no-deps"} <= set(install)
    place = install[install.index("-r") + 1]
    assert ["requirements.lock", place] in [rest.split() for rest in arguments("COPY")]


def test_everything_that_is_copied_is_there(image: Path) -> None:
    sources = [rest.split()[-2] for rest in arguments("COPY")]
    assert sources == ["requirements.lock", "."]
    for source in sources:
        assert (image / source).exists(), source
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in ignored()[0]:
        assert any(fnmatch(file, f"{name}*") for file in tracked), f"git does not know {name}"
    assert not list(image.rglob("__pycache__"))
    assert not (image / ".venv").exists()


def test_it_runs_snakemake_as_nobody_special() -> None:
    (user,) = arguments("USER")
    (added,) = [rest for rest in arguments("RUN") if rest.startswith("useradd")]
    assert user in shlex.split(added.split("&&")[0])
    assert user not in ("root", "0")
    (command,) = map(json.loads, arguments("ENTRYPOINT"))
    assert command == ["snakemake"]
    (options,) = map(json.loads, arguments("CMD"))
    assert options[-1] == "all_tables"


def test_its_files_are_all_that_the_workflow_needs(image: Path) -> None:
    options = ["--cores", "2", "--config", "budget=smoke", "--dry-run", "--", "all_tables"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *options],
        cwd=image,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^evaluate +\d+$", done.stdout + done.stderr, re.MULTILINE)
    # Steps import a method's modules when it is asked for, and Snakemake never does.
    rooms = ("models", "baselines", "workflows")
    modules = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    assert len(modules) > 100
    for module in modules:
        assert (image / module.relative_to(ROOT)).is_file(), module
    steps = sorted(path.stem for path in (image / "workflows" / "steps").glob("[a-z]*.py"))
    assert len(steps) > 10
    code = "\n".join(f"import workflows.steps.{step}" for step in steps)
    subprocess.run([sys.executable, "-c", code], cwd=image, check=True, timeout=300)
