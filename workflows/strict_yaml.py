"""YAML read strictly: a file means one thing, is small, and stands as it is written."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

LARGEST = 2**18  # bytes of a file; ours have 4,000 at most, and reading takes 10 s a megabyte
DEEPEST = 24  # mappings and lists within each other; the deepest of ours are 6
BIGGEST = 2**63  # no whole number is as large: NumPy and pandas could not hold it
# Escapes in quotes can write what no line of text holds; it would break tables and file names.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
STRING = "tag:yaml.org,2002:str"
KINDS = {STRING, *(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))}


class Unreadable(ValueError):
    """A file that is not such YAML; the message says where in it, but not which file it is."""


def read(path: Path) -> Any:
    """What a file holds: null, booleans, finite numbers, text, lists, and mappings with text keys.

    Raises Unreadable for anything else that YAML has (tags, aliases, which can make gigabytes of a
    few lines, a key twice, numbers that are not finite or do not fit 64 bits, unprintable
    characters), for a file that is larger than 256 KiB, nested too deep, no UTF-8 or not there.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise Unreadable(f"has {size} bytes; at most {LARGEST} are allowed")
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unreadable("no such file") from None
    except OSError as error:
        raise Unreadable(f"unreadable ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 text ({error.reason} in byte {error.start})") from None


def parse(text: str) -> Any:
    """`read` for text that is at hand."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML ({' '.join(str(error).split())})") from None
    # What PyYAML lets through: an escape beyond Unicode, a number of 5,000 digits.
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"not YAML ({error})") from None


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, f"alias *{event.anchor} is not allowed; write out what it means")
        if getattr(event, "tag", None) is not None:
            raise _refused(event, f"tag {event.tag} is not allowed")
        if self._depth == DEEPEST:
            raise _refused(event, f"nested deeper than {DEEPEST}")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != STRING:
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise _refused(key, f"key {shown} is not text")
            if key.value in seen:
                raise _refused(key, f"key '{key.value}' is there twice")
            seen.add(key.value)
        return {
            self.construct_object(key, deep=True): self.construct_object(value, deep=deep)
            for key, value in node.value
        }

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        value = super().construct_object(node, deep=deep)
        if isinstance(value, str) and UNPRINTABLE.search(value):
            raise _refused(node, f"unprintable character in {value[:60]!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(node, f"{node.value} is no finite number")
        if isinstance(value, int) and abs(value) >= BIGGEST:
            raise _refused(node, f"{node.value[:40]} does not fit 64 bits")
        return value


# Dates and the merge key stay text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag in KINDS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refused(where: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)
