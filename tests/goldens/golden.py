"""What a golden is: recorded numbers of something that has a version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from workflows import generators, metrics, registry
from workflows.config.datasets import READERS, ROOM
from workflows.evaluation.protocol import load_protocol

FILE = Path(__file__).with_name("goldens.json")
AGAIN = "run python -m tests.goldens"
Numbers = Mapping[str, Any]  # each a float, or a list of them
PROTOCOLS = [file.stem for file in (ROOM / "protocols").glob("[!.]*.yaml")]
# Kind -> where its versions stand, and name -> what has a version, or the version itself.
KINDS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "method": ("workflows/registry.py (METHODS)", registry.METHODS),
    "network": ("workflows/registry.py (NETWORKS)", registry.NETWORKS),
    "objective": ("workflows/registry.py (OBJECTIVES)", registry.OBJECTIVES),
    "generator": ("workflows/generators.py (GENERATORS)", generators.GENERATORS),
    # Of each of these there is one.
    "loop": ("workflows/registry.py", {"training": registry.TRAINING}),
    "backbone": ("workflows/generators.py", {"U-Net": generators.BACKBONE}),
    "generation loop": ("workflows/generators.py", {"training": generators.GENERATION_TRAINING}),
    "sampler": ("workflows/generators.py", {"DDIM": generators.SAMPLING}),
    "reader": ("workflows/config/datasets.py (READERS)", READERS),
    # If Inception's features move, so do all metrics that rest on them.
    "metric": ("workflows/metrics/__init__.py (rFID, KID, ...)", metrics.OF_RECONSTRUCTIONS),
    "metric of latents": ("workflows/metrics/__init__.py (OF_LATENTS)", metrics.OF_LATENTS),
    "metric of samples": ("workflows/metrics/__init__.py (OF_SAMPLES)", metrics.OF_SAMPLES),
    "metric of codes": ("workflows/metrics/__init__.py (OF_CODES)", metrics.OF_CODES),
    "protocol": ("workflows/protocols", {name: load_protocol(name) for name in PROTOCOLS}),
}
# How far a number may be off, relative and absolute. Other processors sum float32 in another order;
# each step of a training carries the difference on, to some millionths in the end, as long as no
# latent gets another code.
FORMULA, TRAINED = (1e-4, 1e-6), (1e-3, 1e-5)


class Wrong(NamedTuple):
    """A mutation, under which a golden must fail.

    target: the full name of what is replaced. new: the replacement, made from the old.
    """

    name: str
    target: str
    new: Callable[[Any], Any]


@dataclass(frozen=True)
class Golden:
    """kind, name: what has the version. variant: which of its goldens this is."""

    kind: str
    name: str
    numbers: Callable[[], Numbers]
    mutation: Wrong
    variant: str = ""
    tolerance: tuple[float, float] = FORMULA

    def __str__(self) -> str:
        """The name in the record, such as "method cvq_vae (online)"."""
        return f"{self.kind} {self.name}" + (f" ({self.variant})" if self.variant else "")

    @property
    def version(self) -> int:
        """Today's version."""
        entry = KINDS[self.kind][1][self.name]
        return getattr(entry, "version", entry)

    def moved(self, was: Numbers, now: Numbers) -> list[str]:
        """The numbers that are not as recorded: "usage was 0.5, is 0.625"."""
        relative, absolute = self.tolerance
        return [
            f"{name} was {was.get(name)}, is {now.get(name)}"
            for name in {**was, **now}
            if now.get(name) != pytest.approx(was.get(name), rel=relative, abs=absolute)
        ]

    def complaint(self, moved: list[str]) -> str:
        """What to do about numbers that moved."""
        return (
            f"{self} gives other numbers than recorded: {'; '.join(moved)}. If that is meant, "
            f"raise its version in {KINDS[self.kind][0]} and {AGAIN}"
        )


def made_with(**settings: Any) -> Callable[[Any], Any]:
    """Return a mutation that passes these settings to every call of the class."""
    return lambda old: lambda *others, **named: old(*others, **{**named, **settings})


def recorded() -> dict[str, Any]:
    """Name of a golden -> its version and numbers in the record."""
    return json.loads(FILE.read_text(encoding="utf-8"))
