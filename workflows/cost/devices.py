"""Seconds that work takes on a device, by the rates in devices.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workflows.schema import ConfigError, load_yaml

FILE = Path(__file__).parent / "devices.yaml"


@dataclass(frozen=True)
class Work:
    """training, inference: operations of networks. steps: of an optimiser.

    precision: of training; inference is always float32. pairs: latents compared with codevectors,
    by a quantiser of `kind`. host: seconds on one core, whatever the device.
    """

    training: float = 0.0
    inference: float = 0.0
    precision: str = "fp32"
    steps: int = 0
    pairs: float = 0.0
    kind: str = "plain"
    host: float = 0.0


@cache
def settings() -> Mapping[str, Any]:
    """The content of devices.yaml. Raises ConfigError."""
    return load_yaml(FILE, "cost")


def seconds(work: Work, device: str) -> float:
    """Of `work` on a "cpu" core or a "gpu". Raises ConfigError for a precision without a rate."""
    about = settings()["devices"][device]
    if work.precision not in about["rates"]:
        raise ConfigError(
            f"{FILE}: devices.{device}.rates: no rate of '{work.precision}'; "
            f"there are: {', '.join(about['rates'])}"
        )
    return (
        work.training / about["rates"][work.precision]["training"]
        + work.inference / about["rates"]["fp32"]["inference"]
        + work.steps * about["step_seconds"]
        + work.pairs * about["pair_nanoseconds"][work.kind] * 1e-9
        + work.host
    )
