"""What `--config` may say of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.schema import ConfigError, refuse_unknown

KEYS = ("budget", "retrain", "gpu", "cells_per_gpu", "hours")
WEEK = 7 * 24
MOST_HOURS = 24 * 365 * 100
MOST_CELLS = 1000
# As Snakemake reads them: `True` is a boolean by then, `true` is still text.
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class RunConfig:
    """budget: the name of one. retrain: True for all cells, False for none that is finished, or the
    id of the cell that is to be trained again.

    gpu: whether a job asks a cluster for a GPU. hours: the longest time limit that a job asks a
    cluster for. cells_per_gpu: how many jobs of this machine share a GPU at the same time.
    """

    budget: str
    retrain: bool | str
    gpu: bool
    hours: int
    cells_per_gpu: int = 1


def read(config: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run, with defaults. Raises ConfigError naming the key."""
    refuse_unknown(map(str, config), KEYS, "config")
    budget = config.get("budget", "embedded")
    # A budget may be called 2026, of which Snakemake makes a number.
    if isinstance(budget, bool) or not isinstance(budget, str | int):
        raise ConfigError(f"config: budget: {budget!r} is not the name of a budget")
    said = str(config.get("retrain", False))
    retrain = BOOLEANS.get(said.lower(), said)
    if isinstance(retrain, str) and "/" not in retrain:
        raise ConfigError(
            f"config: retrain: '{said}' is not allowed; allowed: true, false, the name of a cell"
        )
    gpu = _number(config, "gpu", 0, (0, 1), "0 or 1")
    hours = _number(config, "hours", WEEK, (1, MOST_HOURS), "a whole number of hours, 1 or more")
    cells = _number(config, "cells_per_gpu", 1, (1, MOST_CELLS), "a whole number, 1 or more")
    return RunConfig(str(budget), retrain, bool(gpu), hours, cells)


def _number(
    config: Mapping[str, Any], key: str, default: int, within: tuple[int, int], allowed: str
) -> int:
    value = config.get(key, default)
    least, most = within
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"config: {key}: '{value}' is not allowed; allowed: {allowed}")
    return value
