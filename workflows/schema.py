"""Files against closed schemas, with messages that name the file, the key and what is allowed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

# A training needs this module's errors, and should not wait for libraries that it does not use.
# The functions that need them import them.
if TYPE_CHECKING:
    import jsonschema
    import pandas as pd

SCHEMAS = Path(__file__).parent / "schemas"


class ConfigError(ValueError):
    """Bad configuration or a bad table of numbers; one line that a user can act on."""


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema `workflows/schemas/<name>.schema.yaml`."""
    return yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text())


def load_yaml(path: Path, schema_name: str | None) -> dict[str, Any]:
    """Read a YAML mapping and check it. Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values")
    if schema_name is not None:
        validate(content, schema_name, str(path))
    return content


def validate(content: Any, schema_name: str, where: str) -> None:
    """Check `content` against a schema. where: what the message begins with. Raises ConfigError."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema(schema_name))
    wrong = _first(validator, content)
    if wrong is not None:
        raise ConfigError(f"{where}: {_explain(wrong)}")


def refuse_unknown(keys: Iterable[str], allowed: Collection[str], where: str) -> None:
    """Raises ConfigError for the first key that is not allowed, with the nearest one that is."""
    for key in keys:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(f"{where}: unknown key '{key}'; {hint}allowed: {', '.join(allowed)}")


def read_csv(path: Path, schema_name: str) -> pd.DataFrame:
    """Read a CSV whose columns and values the schema describes. Raises ConfigError.

    Columns of type string stay text, with the digits of the source; empty cells are empty strings
    in text columns and NaN in numeric ones.
    """
    import jsonschema
    import pandas as pd

    columns = schema(schema_name)["properties"]
    text = {name: str for name, rule in columns.items() if rule.get("type", "string") == "string"}
    try:
        frame = pd.read_csv(
            path,
            dtype=text,
            keep_default_na=False,
            na_values={name: [""] for name in columns if name not in text},
        )
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise ConfigError(f"{path}: not a CSV of this kind ({error})") from None
    if list(frame.columns) != list(columns):
        raise ConfigError(
            f"{path}: columns are {', '.join(map(str, frame.columns))}; "
            f"expected {', '.join(columns)}"
        )
    validator = jsonschema.Draft202012Validator(schema(schema_name))
    for line, record in enumerate(frame.to_dict("records"), start=2):
        clean = {key: None if value != value else value for key, value in record.items()}
        wrong = _first(validator, clean)
        if wrong is not None:
            raise ConfigError(f"{path}: line {line}: {_explain(wrong)}")
    return frame


def _first(validator: Any, content: Any) -> jsonschema.ValidationError | None:
    """The error to report: a value that is wrong in itself before one that another forbids."""
    import jsonschema

    errors = list(validator.iter_errors(content))
    plain = [e for e in errors if not {"then", "else"} & set(e.absolute_schema_path)]
    return jsonschema.exceptions.best_match(plain or errors)


def _explain(error: jsonschema.ValidationError) -> str:
    key = ".".join(str(part) for part in error.absolute_path)
    at = f"{key}: " if key else ""
    rule, value = error.validator, error.validator_value
    if rule == "additionalProperties":
        allowed = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(allowed))[0]
        near = get_close_matches(str(unknown), allowed, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"{at}unknown key '{unknown}'; {hint}allowed: {', '.join(allowed)}"
    if rule == "not":
        return f"{at}does not go with the other keys"
    if rule == "required":
        missing = [name for name in value if name not in error.instance]
        return f"{at}missing key '{missing[0]}'"
    if rule == "enum":
        options = [str(option) for option in value]
        near = get_close_matches(str(error.instance), options, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"{at}'{error.instance}' is not allowed; {hint}allowed: {', '.join(options)}"
    if rule == "type":
        wanted = " or ".join(value) if isinstance(value, list) else value
        return f"{at}{error.instance!r} is not of type {wanted}{_range(error.schema)}"
    return f"{at}{error.message}{_range(error.schema)}"


def _range(rules: dict[str, Any]) -> str:
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<="}
    bounds = [f"{sign} {rules[name]}" for name, sign in words.items() if name in rules]
    return f"; allowed: {' and '.join(bounds)}" if bounds else ""
