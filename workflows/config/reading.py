"""Read files into closed types. Messages name the file, the key, the value and what is allowed."""

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
# Folder of configuration -> pattern of its files' names, which results, logs and pages share.
NAME = {"budgets": "[A-Za-z0-9_][A-Za-z0-9_-]*"}
# Runs of a budget of this name would write into results/published, among the published numbers.
RESERVED = {"budgets": "published"}


def read_yaml(path: Path, kind: type[Kind]) -> Kind:
    """Read a YAML file. Raises ConfigError with a line for each problem."""
    try:
        content = yaml.load(read_text(path), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    return parse(content, kind, str(path))


def read_json(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file. Raises ConfigError with a line for each problem."""
    return parse_json(read_text(path), kind, str(path))


def parse_json(text: str, kind: type[Kind], where: str) -> Kind:
    """Parse a JSON text. where: begins each message. Raises ConfigError."""
    try:
        return parse(json.loads(text), kind, where)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON ({error})") from None


def parse(content: Any, kind: type[Kind], where: str) -> Kind:
    """Parse a mapping. where: begins each message. Raises ConfigError."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: expected a mapping of keys to values")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, where))) from None


def explain(error: ValidationError, where: str) -> list[str]:
    """Return a line for each problem. where: begins each line."""
    lines = []
    for problem in error.errors(include_url=False):
        # Between the keys pydantic puts names of types, which have brackets.
        keys = [str(part) for part in problem["loc"] if not re.search(r"[\[\]() ]", str(part))]
        lines.append(": ".join(filter(None, (where, ".".join(keys), _message(problem)))))
    return list(dict.fromkeys(lines))


def _message(problem: Any) -> str:
    value, message = problem["input"], problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return "the key is missing"
    if problem["type"] == "literal_error":
        allowed = [option.strip("'") for option in re.split(", | or ", problem["ctx"]["expected"])]
        return f"'{value}' is not allowed; {nearest(str(value), allowed)}"
    if message.startswith("Input should be"):
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:60]} ..."
        return f"{shown} {message.replace('Input should', 'must')}"
    return message


def yaml_files(folder: Path) -> dict[str, Path]:
    """Return name -> YAML file of a folder, sorted, without hidden files such as `.#my.yaml`.

    Raises ConfigError for a name that cannot be part of a path or is reserved.
    """
    pattern = NAME.get(folder.name, "[a-z0-9_]+")
    files = {path.stem: path for path in sorted(folder.glob("[!.]*.yaml"))}
    for name, path in files.items():
        if not re.fullmatch(pattern, name):
            raise ConfigError(f"{path}: name: '{name}' is not allowed; allowed: {pattern}")
        if name == RESERVED.get(folder.name):
            raise ConfigError(f"{path}: name: '{name}' is taken by results/{name}; rename the file")
    return files


def read_text(path: Path) -> str:
    """Return the text of a file. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path}: unreadable ({error.strerror})") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader that refuses a key that occurs twice. PyYAML's own keeps the last value."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if key.value in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' is there twice", key.start_mark
                )
            keys.add(key.value)
        return super().construct_mapping(node, deep=deep)


# PyYAML reads 1e-3 as text, because YAML 1.1 asks for a point before the exponent.
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, [*"-+0123456789"])
