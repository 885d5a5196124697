"""What `--config` may say of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.schema import ConfigError, refuse_unknown

KEYS = ("budget", "so_far")
# As Snakemake reads them: `True` is a boolean by then, `true` is still text.
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class RunConfig:
    """budget: the name of one. so_far: whether to show what is finished and leave the rest."""

    budget: str
    so_far: bool


def read(config: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run, with defaults. Raises ConfigError naming the key."""
    refuse_unknown(map(str, config), KEYS, "config")
    budget = config.get("budget", "embedded")
    # A budget may be called 2026, of which Snakemake makes a number.
    if isinstance(budget, bool) or not isinstance(budget, str | int):
        raise ConfigError(f"config: budget: {budget!r} is not the name of a budget")
    said = str(config.get("so_far", False)).lower()
    if said not in BOOLEANS:
        raise ConfigError(f"config: so_far: '{said}' is not allowed; allowed: true, false")
    return RunConfig(str(budget), BOOLEANS[said])
