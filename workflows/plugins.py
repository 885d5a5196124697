"""Quantisers and tables of a user, which lie outside the repository.

`--config plugins=my_module experiments=my_folder` names a module that has METHODS and a folder of
YAML files. Two environment variables hand both on to every process of a run, also on a cluster, and
do the same for commands without Snakemake.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from workflows.errors import ConfigError
from workflows.knobs import Training

PLUGINS, EXPERIMENTS = "CODEBOOK_PLUGINS", "CODEBOOK_EXPERIMENTS"
# Hexadecimal digits of a plug-in's SHA-256, by which its cells are known.
DIGITS = 12
Kind = TypeVar("Kind", bound=Any)


def variables(said: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The variables that hand on what `--config` says, with absolute paths.

    Several modules are separated by commas. A relative path is looked for in the folder where the
    shell is, then in the present one, which `--directory` may have changed; a module also on
    Python's path. Raises ConfigError.
    """
    here = [Path(folder) for folder in (given.get("PWD"), Path.cwd()) if folder]
    found = {}
    if said.get("plugins"):
        names, folders = str(said["plugins"]).split(","), [*here, *map(Path, sys.path)]
        found[PLUGINS] = os.pathsep.join(_module(name.strip(), folders) for name in names)
    if said.get("experiments"):
        folders = [folder / Path(str(said["experiments"])).expanduser() for folder in here]
        there = next(filter(Path.is_dir, folders), None)
        if there is None:
            raise ConfigError(f"config: experiments: {folders[0]}: no such folder")
        found[EXPERIMENTS] = str(there.resolve())
    return found


def _module(name: str, folders: list[Path]) -> str:
    """The file of a module, or the __init__.py of a package."""
    for folder in folders:
        path = folder / Path(name).expanduser()
        for file in (path, Path(f"{path}.py"), path / "__init__.py"):
            if file.is_file() and file.suffix == ".py":
                return str(file.resolve())
    raise ConfigError(
        f"config: plugins: no module '{name}' in {folders[0]} or on Python's path; allowed: the "
        "name of a module with METHODS, such as my_module for my_module.py"
    )


def experiments() -> Path | None:
    """The user's folder of experiments."""
    folder = os.environ.get(EXPERIMENTS)
    return Path(folder) if folder else None


def methods(kind: type[Kind], taken: Collection[str]) -> dict[str, Kind]:
    """The methods of every plug-in, each with its plug-in's digest.

    kind: the registry's type of a method. taken: names that there are already. Raises ConfigError.
    """
    found: dict[str, Kind] = {}
    for file in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        for name, method in _methods_in(Path(file), kind).items():
            if not re.fullmatch("[a-z0-9_]+", str(name)):
                raise ConfigError(f"{file}: METHODS: '{name}' is not allowed; allowed: [a-z0-9_]+")
            if name in taken or name in found:
                raise ConfigError(f"{file}: METHODS: '{name}' is taken; choose another name")
            found[name] = replace(method, plugin=digest(Path(file)))
    return found


def _methods_in(file: Path, kind: type[Kind]) -> Mapping[str, Kind]:
    name = f"plugin_{(file.parent if file.name == '__init__.py' else file).stem}"
    try:
        spec: Any = importlib.util.spec_from_file_location(name, file)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{file}: cannot be imported ({why})") from error
    found = getattr(module, "METHODS", None)
    allowed = "a mapping of names to workflows.registry.Method, with knobs of workflows.knobs"
    if not isinstance(found, Mapping) or not found:
        raise ConfigError(f"{file}: METHODS: missing or empty; allowed: {allowed}")
    for name, method in found.items():
        knobs = getattr(method, "knobs", None)
        typed = isinstance(knobs, type) and issubclass(knobs, Training)
        if not isinstance(method, kind) or not typed:
            raise ConfigError(f"{file}: METHODS: '{name}' is {method!r}; allowed: {allowed}")
    return found


def digest(file: Path) -> str:
    """The first digits of the SHA-256 of a module, or of all modules of a package in order."""
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    content = b"".join(one.read_bytes() for one in files)
    return hashlib.sha256(content).hexdigest()[:DIGITS]
