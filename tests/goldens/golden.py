"""What a golden is: recorded numbers of something that has a version."""

from __future__ import annotations

import json
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workflows import metrics, registry
from workflows.config.datasets import READERS, ROOM
from workflows.evaluation import protocol

FILE = Path(__file__).with_name("goldens.json")
AGAIN = "run python -m tests.goldens"
Numbers = Mapping[str, Any]  # each a float, or a list of them


@dataclass(frozen=True)
class Kind:
    """Things whose versions stand in one place. versions: name -> version, as they are today."""

    place: str
    versions: Callable[[], Mapping[str, int]]


def _of(registered: Mapping[str, Any]) -> Callable[[], Mapping[str, int]]:
    return lambda: {name: entry.version for name, entry in registered.items()}


def _of_protocols() -> Mapping[str, int]:
    names = [file.stem for file in (ROOM / "protocols").glob("[!.]*.yaml")]
    return {name: protocol.load_protocol(name).version for name in names}


REGISTRY, METRICS = "workflows/registry.py", "workflows/metrics/__init__.py"
KINDS = {
    "method": Kind(f"{REGISTRY} (METHODS)", _of(registry.METHODS)),
    "network": Kind(f"{REGISTRY} (NETWORKS)", _of(registry.NETWORKS)),
    "objective": Kind(f"{REGISTRY} (OBJECTIVES)", lambda: registry.OBJECTIVES),
    "diffusion": Kind(f"{REGISTRY} (DIFFUSIONS)", _of(registry.DIFFUSIONS)),
    # Of each of these there is one.
    "loop": Kind(f"{REGISTRY} (TRAINING)", lambda: {"training": registry.TRAINING}),
    "backbone": Kind(f"{REGISTRY} (BACKBONE)", lambda: {"U-Net": registry.BACKBONE}),
    "diffusion loop": Kind(
        f"{REGISTRY} (DIFFUSION_TRAINING)", lambda: {"training": registry.DIFFUSION_TRAINING}
    ),
    "sampler": Kind(f"{REGISTRY} (SAMPLING)", lambda: {"DDIM": registry.SAMPLING}),
    "reader": Kind("workflows/config/datasets.py (READERS)", _of(READERS)),
    "metric": Kind(f"{METRICS} (OF_RECONSTRUCTIONS)", lambda: metrics.OF_RECONSTRUCTIONS),
    "metric of samples": Kind(f"{METRICS} (OF_SAMPLES)", lambda: metrics.OF_SAMPLES),
    "protocol": Kind("workflows/protocols/{name}.yaml", _of_protocols),
}
# How far a number may be off, relative and absolute. Other processors sum float32 in another order;
# each step of a training carries the difference on, to some millionths in the end, as long as no
# latent gets another code.
FORMULA, TRAINED = (1e-4, 1e-6), (1e-3, 1e-5)


@dataclass(frozen=True)
class Wrong:
    """A mutation, under which a golden must fail. target: what is replaced, by its full name. new:
    what stands there instead, from the old.
    """

    name: str
    target: str
    new: Callable[[Any], Any]

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Until pytest takes it back."""
        patch.setattr(self.target, self.new(pkgutil.resolve_name(self.target)))


@dataclass(frozen=True)
class Golden:
    """kind, name: what has the version. variant: which of its goldens this is. others: whose
    versions are to be raised with its.
    """

    kind: str
    name: str
    numbers: Callable[[], Numbers]
    mutations: tuple[Wrong, ...]
    variant: str = ""
    tolerance: tuple[float, float] = FORMULA
    others: str = ""

    def __str__(self) -> str:
        """Its name in the record, such as "method cvq_vae (online)"."""
        return f"{self.kind} {self.name}" + (f" ({self.variant})" if self.variant else "")

    @property
    def version(self) -> int:
        """Today's."""
        return KINDS[self.kind].versions()[self.name]

    def computed(self) -> Numbers:
        """Its numbers with the digits that are recorded."""
        return json.loads(
            json.dumps(self.numbers()), parse_float=lambda x: float(f"{float(x):.7g}")
        )

    def moved(self, recorded: Numbers, computed: Numbers) -> list[str]:
        """What is not as recorded: "usage was 0.5, is 0.625"."""
        was, now = _flat(recorded), _flat(computed)
        return [
            f"{name} was {was.get(name)}, is {now.get(name)}"
            for name in {**was, **now}
            if not self._same(was.get(name), now.get(name))
        ]

    def complaint(self, moved: list[str]) -> str:
        """What to do about it."""
        variant = f" ({self.variant})" if self.variant else ""
        place = KINDS[self.kind].place.format(name=self.name)
        return (
            f"{self.kind} '{self.name}'{variant} gives other numbers than recorded: "
            f"{'; '.join(moved)}. If that is meant, raise its version in {place}{self.others} "
            f"and {AGAIN}"
        )

    def _same(self, was: float | None, now: float | None) -> bool:
        if was is None or now is None:
            return False
        relative, absolute = self.tolerance
        return math.isclose(was, now, rel_tol=relative, abs_tol=absolute)


def made_with(**settings: Any) -> Callable[[Any], Any]:
    """A mutation's class that is always made with these."""
    return lambda old: lambda *others, **named: old(*others, **{**named, **settings})


def _flat(numbers: Numbers) -> dict[str, float]:
    """Those of a list by names of their own."""
    found: dict[str, float] = {}
    for name, value in numbers.items():
        several = isinstance(value, list)
        found |= {f"{name}[{i}]": one for i, one in enumerate(value)} if several else {name: value}
    return found


def recorded() -> dict[str, Any]:
    """Each golden's version and numbers in the record."""
    return json.loads(FILE.read_text(encoding="utf-8"))
