"""Files of configuration and of numbers, read strictly and held against closed schemas.

What `schema.py` checks is the content; here is what must hold of the file itself. They are apart
because what trains imports `schema.py`: a stricter reader must not make a model train again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflows import schema as schemas
from workflows import strict_yaml
from workflows.schema import ConfigError

if TYPE_CHECKING:
    import pandas as pd

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


@cache
def _strict() -> Any:
    """The validator's class. For JSON Schema 2.0 is an integer; for range() or a shape it is not.

    A training imports this module and should not wait for a library that it does not use.
    """
    import jsonschema

    types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=types)


def load_yaml(path: Path, schema_name: str | None) -> dict[str, Any]:
    """Read a YAML mapping and check it. Raises ConfigError naming file and key."""
    try:
        content = strict_yaml.read(path)
    except strict_yaml.Unreadable as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values")
    if schema_name is not None:
        validate(content, schema_name, str(path))
    return content


def read_json(path: Path, schema_name: str) -> dict[str, Any]:
    """Read a JSON object and check it. Raises ConfigError naming file and key."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no finite number")

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: unreadable ({error.strerror})") from None
    except RecursionError:
        raise ConfigError(f"{path}: not JSON (nested too deep)") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    validate(content, schema_name, str(path))
    return content


def read_plan(path: Path) -> dict[str, Any]:
    """Read plan.json. Raises ConfigError, also for a row of a cell or a table that it lacks."""
    plan = read_json(path, "plan")
    for number, row in enumerate(plan["rows"]):
        for key, known in (("cell", plan["cells"]), ("table", plan["tables"])):
            if row[key] not in known:
                raise ConfigError(f"{path}: rows.{number}.{key}: '{row[key]}' is not in the plan")
    return plan


def validate(content: Any, schema_name: str, where: str) -> None:
    """Check `content` against a schema. where: what the message begins with. Raises ConfigError."""
    _check(content, schemas.schema(schema_name), where)


def validate_some(content: Any, schema_name: str, where: str) -> None:
    """Check the keys that `content` has on their own, not whether they are all or fit together.

    Raises ConfigError.
    """
    properties = schemas.schema(schema_name)["properties"]
    rules = {"type": "object", "additionalProperties": False, "properties": properties}
    _check(content, rules, where)


def _check(content: Any, rules: Mapping[str, Any], where: str) -> None:
    wrong = schemas._first(_strict()(rules), content)
    if wrong is not None:
        raise ConfigError(f"{where}: {schemas._explain(wrong)}")


def read_csv(path: Path, schema_name: str) -> pd.DataFrame:
    """Read a CSV whose columns and values the schema describes, as `schema.read_csv` does.

    Before that the file itself must be whole and mean one thing: UTF-8, every line as long as the
    first and ended, numbers finite and written as such, no control characters, and no two lines
    alike in the columns that the schema's `x-key` names. Raises ConfigError naming file and line.
    """
    rules = schemas.schema(schema_name)
    columns = rules["properties"]
    lines = list(_lines(path))
    if list(lines[0]) != list(columns):
        found = ", ".join(lines[0])
        raise ConfigError(f"{path}: columns are {found}; expected {', '.join(columns)}")
    key = [list(columns).index(name) for name in rules.get("x-key", ())]
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(lines[1:], 2):
        where = f"{path}: line {number}"
        if len(line) != len(columns):
            raise ConfigError(f"{where}: {len(line)} values, must be {len(columns)}")
        for (name, rule), value in zip(columns.items(), line, strict=True):
            wrong = _wrong(value, rule)
            if wrong:
                raise ConfigError(f"{where}: {name}: {wrong}")
        first = seen.setdefault(tuple(line[place] for place in key), number)
        if key and first != number:
            names = ", ".join(rules["x-key"])
            raise ConfigError(f"{where}: repeats line {first}; {names} must differ")
    return schemas.read_csv(path, schema_name)


def _lines(path: Path) -> Iterator[list[str]]:
    """The values of every line, the heading first. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: unreadable ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    if not text.endswith("\n"):
        raise ConfigError(f"{path}: empty or cut short: its last line has no end")
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV ({error})") from None


def _wrong(value: str, rule: Mapping[str, Any]) -> str | None:
    """What is wrong with a value as it is written; the schema says what it may be."""
    types = rule.get("type", "string")
    if types == "string":
        return f"unprintable character in {value[:60]!r}" if UNPRINTABLE.search(value) else None
    if not value:
        return None
    if value == "inf" and rule.get("x-infinite"):
        return None
    if not NUMBER.fullmatch(value) or not math.isfinite(float(value)):
        return f"'{value[:60]}' is no finite number"
    if "integer" in types and abs(float(value)) >= strict_yaml.BIGGEST:
        return f"'{value[:60]}' does not fit 64 bits"
    return None
