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
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    return parse(content, kind, str(path))


def parse(content: Any, kind: type[Kind], where: str) -> Kind:
    """The content, typed. where: what each message begins with. Raises ConfigError."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: expected a mapping of keys to values")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, where))) from None


def explain(error: ValidationError, where: str) -> list[str]:
    """A line for each thing that is wrong."""
    lines = []
    for wrong in error.errors(include_url=False):
        keys = [str(part) for part in wrong["loc"] if str(part).isidentifier() or _named(part)]
        at = f"{'.'.join(keys)}: " if keys else ""
        line = f"{where}: {at}{_problem(wrong)}"
        if line not in lines:
            lines.append(line)
    return lines


def _named(part: Any) -> bool:
    """Whether a part of a place is a key or a number, not the name of a type of pydantic's."""
    return isinstance(part, int) or not re.search(r"[\[\]() ]", part)


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


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files in a folder, sorted, without hidden ones such as an editor's `.#my.yaml`."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


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
