"""The project's one base error, and the hint that goes with a misspelt name."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


class BenchmarkError(Exception):
    """Something a user can mend. The message is what the command prints before it exits with 1."""


class ConfigError(BenchmarkError):
    """Bad configuration, or a bad table of numbers; the message names the file and the key."""


class DataError(BenchmarkError):
    """Images or weights that are absent, damaged or not what they should be. The message names the
    file.
    """


def nearest(name: str, allowed: Collection[str], listed: str = "") -> str:
    """What to say after an unknown name: the nearest allowed names, then all of them.

    listed: where a user finds all names, if there are too many for a message.
    """
    # Labels of rows contain commas.
    mark = "; " if any("," in one for one in allowed) else ", "
    near = mark.join(get_close_matches(name, allowed, n=3, cutoff=0.4))
    hint = f"did you mean {near}? " if near else ""
    return hint + (listed or f"allowed: {mark.join(allowed) or 'none'}")


def known(name: str, allowed: Collection[str], what: str, listed: str = "") -> str:
    """Return the name if it is allowed; else raise ConfigError with the nearest allowed names.

    what: begins the message, such as "budget smoke: cell".
    """
    if name not in allowed:
        raise ConfigError(f"{what} '{name}' is unknown; {nearest(name, allowed, listed)}")
    return name
