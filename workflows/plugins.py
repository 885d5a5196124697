"""Quantisers and tables of a user, which lie outside the repository.

`--config plugins=my_module experiments=my_folder` names a module that has METHODS and a folder of
YAML files. Two environment variables pass both to every process of a run, also on a cluster. A user
can also set the variables for commands without Snakemake.
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
# The number of digits of a plug-in's SHA-256 that are the version of its cells.
DIGITS = 12
Method = TypeVar("Method", bound=Any)


def variables(config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for what `--config` names, with absolute paths.

    Several modules are separated by commas. A relative path is searched in the shell's folder, then
    in the current folder, which `--directory` may have changed; a module also on Python's path.
    Raises ConfigError.
    """
    folders = [Path(folder) for folder in (environment.get("PWD"), Path.cwd()) if folder]
    paths = {}
    if config.get("plugins"):
        names, searched = str(config["plugins"]).split(","), [*folders, *map(Path, sys.path)]
        paths[PLUGINS] = os.pathsep.join(_module_file(name.strip(), searched) for name in names)
    if config.get("experiments"):
        candidates = [folder / Path(str(config["experiments"])).expanduser() for folder in folders]
        existing = next(filter(Path.is_dir, candidates), None)
        if existing is None:
            raise ConfigError(f"config: experiments: {candidates[0]}: no such folder")
        paths[EXPERIMENTS] = str(existing.resolve())
    return paths


def _module_file(name: str, folders: list[Path]) -> str:
    """Return the file of a module, or the __init__.py of a package."""
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
    """Return the user's folder of experiments, if there is one."""
    folder = os.environ.get(EXPERIMENTS)
    return Path(folder) if folder else None


def methods(kind: type[Method], taken: Collection[str]) -> dict[str, Method]:
    """Return the methods of all plug-ins, each with the digest of its plug-in.

    kind: the registry's type of a method. taken: names of existing methods. Raises ConfigError.
    """
    plugged: dict[str, Method] = {}
    for path in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        file = Path(path)
        for name, method in _methods_in(file, kind).items():
            if not re.fullmatch("[a-z0-9_]+", str(name)):
                raise ConfigError(f"{file}: METHODS: '{name}' is not allowed; allowed: [a-z0-9_]+")
            if name in taken or name in plugged:
                raise ConfigError(f"{file}: METHODS: '{name}' is taken; choose another name")
            plugged[name] = replace(method, plugin=_digest(file))
    return plugged


def _methods_in(file: Path, kind: type[Method]) -> Mapping[str, Method]:
    name = f"plugin_{(file.parent if file.name == '__init__.py' else file).stem}"
    try:
        spec: Any = importlib.util.spec_from_file_location(name, file)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{file}: cannot be imported ({reason})") from error
    entries = getattr(module, "METHODS", None)
    allowed = "a mapping of names to workflows.registry.Method, with knobs of workflows.knobs"
    if not isinstance(entries, Mapping) or not entries:
        raise ConfigError(f"{file}: METHODS: missing or empty; allowed: {allowed}")
    for name, method in entries.items():
        knobs = getattr(method, "knobs", None)
        typed = isinstance(knobs, type) and issubclass(knobs, Training)
        if not isinstance(method, kind) or not typed:
            raise ConfigError(f"{file}: METHODS: '{name}' is {method!r}; allowed: {allowed}")
    return entries


def _digest(file: Path) -> str:
    """Return the digest of a module, or of all modules of a package in order."""
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    content = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:DIGITS]
