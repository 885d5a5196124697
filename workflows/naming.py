"""Names that people type, refused with the nearest of those that there are."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from workflows.schema import ConfigError


def known(name: str, allowed: Collection[str], lacking: str, listed: str = "") -> str:
    """The name, if it is allowed. Raises ConfigError with the nearest ones, and with all of them.

    lacking: what the message begins with, such as "budget smoke: no cell". listed: where all of
    them are to be found, if they are too many to name.
    """
    if name in allowed:
        return name
    # Rows of tables have commas in them.
    mark = "; " if any("," in one for one in allowed) else ", "
    near = mark.join(get_close_matches(name, allowed, n=3, cutoff=0.4))
    hint = f"; did you mean {near}?" if near else "" if listed else ";"
    every = f"({listed})" if listed else f"allowed: {mark.join(allowed) or 'none'}"
    raise ConfigError(f"{lacking} '{name}'{hint} {every}")
