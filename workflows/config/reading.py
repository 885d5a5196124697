"""Files read into closed types. Every message names the file, the key, the value and what fits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from workflows.errors import ConfigError, nearest

Kind = TypeVar("Kind", bound=BaseModel)


def read_yaml(path: Path, kind: type[Kind]) -> Kind:
    """Read a YAML file. Raises ConfigError with a line for everything that is wrong in it."""
    try:
        content = yaml.load(read_text(path), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    return parse(content, kind, str(path))


def read_json(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file. Raises ConfigError with a line for everything that is wrong in it."""
    return parse(from_json(read_text(path), str(path)), kind, str(path))


def from_json(text: str, where: str) -> Any:
    """What a JSON text holds. where: what the message begins with. Raises ConfigError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON ({error})") from None


def parse(content: Any, kind: type[Kind], where: str) -> Kind:
    """The content, typed. where: what each message begins with. Raises ConfigError."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: expected a mapping of keys to values")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, where))) from None


def explain(error: ValidationError, where: str = "") -> list[str]:
    """A line for each thing that is wrong. where: what each begins with."""
    lines = []
    for wrong in error.errors(include_url=False):
        # Not the names of types, with brackets, that pydantic puts between keys.
        keys = [str(part) for part in wrong["loc"] if not re.search(r"[\[\]() ]", str(part))]
        lines.append(": ".join(filter(None, (where, ".".join(keys), _problem(wrong)))))
    return list(dict.fromkeys(lines))


def _problem(wrong: Any) -> str:
    value, message = wrong["input"], wrong["msg"].removeprefix("Value error, ")
    if wrong["type"] == "missing":
        return "the key is missing"
    if wrong["type"] == "literal_error":
        allowed = [option.strip("'") for option in re.split(", | or ", wrong["ctx"]["expected"])]
        return f"'{value}' is not allowed; {nearest(str(value), allowed)}"
    if message.startswith("Input should be"):
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:60]} ..."
        return f"{shown} {message.replace('Input should', 'must')}"
    return message


# Folder of configuration -> what its files may be called; results, logs and pages bear these names.
NAME = {"budgets": "[A-Za-z0-9_][A-Za-z0-9_-]*"}
# Folder of configuration -> names that would collide with what a run writes to results, logs and
# .cache/due.
RESERVED = {
    "budgets": ("published", "prepare", "reference", "datasets", "weights"),
    "datasets": ("plan", "collected"),
}


def yaml_files(folder: Path) -> dict[str, Path]:
    """Name -> YAML file of a folder, sorted, without hidden ones such as an editor's `.#my.yaml`.

    Raises ConfigError for a name that cannot be part of a path, or that is taken.
    """
    pattern, taken = NAME.get(folder.name, "[a-z0-9_]+"), RESERVED.get(folder.name, ())
    files = {path.stem: path for path in sorted(folder.glob("*.yaml")) if path.name[0] != "."}
    for name, path in files.items():
        if not re.fullmatch(pattern, name):
            raise ConfigError(f"{path}: name: '{name}' is not allowed; allowed: {pattern}")
        if name in taken:
            raise ConfigError(
                f"{path}: name: '{name}' is taken by what runs write; rename the file"
            )
    return files


def read_text(path: Path) -> str:
    """The text of a file. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path}: unreadable ({error.strerror})") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML keeps the last of two equal keys; here they are refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
