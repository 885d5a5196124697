"""The project's base error, and hints for misspelt names."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


class BenchmarkError(Exception):
    """Something that a user can mend. A command prints the message and exits with 1."""


class ConfigError(BenchmarkError):
    """Wrong configuration, or a wrong table of numbers; the message names the file and the key."""


class DataError(BenchmarkError):
    """Images or weights that are missing, damaged or unexpected; the message names the file."""


def nearest(name: str, allowed: Collection[str], listed: str = "") -> str:
    """Return the nearest allowed names, then all of them, for a message about an unknown name.

    listed: replaces the list of all names if the list is too long, and says where to find it.
    """
    # Labels of rows contain commas.
    separator = "; " if any("," in label for label in allowed) else ", "
    near = separator.join(get_close_matches(name, allowed, n=3, cutoff=0.4))
    hint = f"did you mean {near}? " if near else ""
    return hint + (listed or f"allowed: {separator.join(allowed) or 'none'}")


def known(name: str, allowed: Collection[str], what: str, listed: str = "") -> str:
    """Return the name if it is allowed, or else raise ConfigError with the nearest allowed names.

    what: the beginning of the message, such as "budget smoke: cell".
    """
    if name not in allowed:
        raise ConfigError(f"{what} '{name}' is unknown; {nearest(name, allowed, listed)}")
    return name
