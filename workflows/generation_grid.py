"""Rows of generation tables, resolved into diffusion models and the first stages they need."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workflows.cell import IDENTITY, Cell, base, check, defaults_of, resolve
from workflows.misfits import misfits
from workflows.reading import validate, validate_some
from workflows.schema import ConfigError, refuse_unknown, schema

# Guidance and hidden classes are of models that know classes; what the others have.
UNCONDITIONAL = {"label_dropout": 0.0, "guidance": 1.0}


def sampling(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a diffusion model's knobs that sampling reads and training does not."""
    known = properties("generation_cell")
    return {key: value for key, value in knobs.items() if known.get(key, {}).get("x-sampling")}


@dataclass(frozen=True)
class Group:
    """Settings of a budget. role, method: whose they are, None for all. key: where they stand, but
    for the method.
    """

    key: str
    role: str | None
    method: str | None
    knobs: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The file and the key, which a message about them begins with."""
        return self.key if self.method is None else f"{self.key}.{self.method}"

    def check(self, schema_name: str) -> None:
        """Refuse a method or a setting that there is not, or is wrong. Raises ConfigError."""
        if self.method is not None:
            validate_some({"method": self.method}, schema_name, self.key)
        check_some(self.knobs, schema_name, self.where)


@dataclass(frozen=True)
class Settings:
    """What a row starts from. budget: the budget file. defaults: defaults.yaml. file: the first."""

    budget: Mapping[str, Any]
    defaults: Mapping[str, Any]
    file: Path

    def check(self) -> None:
        """Refuse a bad value of the budget before a row is blamed for it. Raises ConfigError."""
        anything = {
            "dataset": "any",
            "method": "ddpm",
            "seed": 0,
            "first_stage": None,
            **self.defaults["generation"]["knobs"],
        }
        for group in self._groups("knobs"):
            group.check("generation_cell")
            # A budget may guide models that the experiments condition.
            merged = {**anything, **group.knobs, "conditional": True}
            validate(merged, "generation_cell", group.where)
        for group in self._groups("first_stage"):
            group.check("cell")

    def check_guided(self, conditional: Collection[str]) -> None:
        """Refuse what only models that know classes have, of a role whose models know none.

        conditional: the roles whose models do. Raises ConfigError. The budget's settings for all
        roles may have it, and the others go without.
        """
        for group in self._groups("knobs"):
            if group.role is None or group.role in conditional:
                continue
            for name, without in UNCONDITIONAL.items():
                if group.knobs.get(name, without) != without:
                    raise ConfigError(
                        f"{group.where}: {name}: {group.knobs[name]} is of models that are asked "
                        f"for a class, and no experiment asks those of '{group.role}'; conditional "
                        f"roles: {', '.join(conditional) or 'none'}"
                    )

    def where(self, keys: Collection[str], role: str, method: str) -> str | None:
        """The group that sets one of those keys of diffusion models of a method on a role's
        dataset, and the last to do so; None if the budget sets none of them.
        """
        found = [
            group.where
            for group in self._groups("knobs", role, method)
            if any(key in group.knobs for key in keys)
        ]
        return found[-1] if found else None

    def first_stage(self, role: str, method: str) -> dict[str, Any]:
        """What first stages of a method set differently on a role's dataset."""
        return self._of("first_stage", role, method)

    def knobs(self, role: str, method: str) -> dict[str, Any]:
        """What the budget sets of diffusion models of a method on a role's dataset."""
        return self._of("knobs", role, method)

    def _of(self, name: str, role: str, method: str) -> dict[str, Any]:
        groups = self._groups(name, role, method)
        return {key: value for group in groups for key, value in group.knobs.items()}

    def _groups(
        self, name: str, role: str | None = None, method: str | None = None
    ) -> Iterator[Group]:
        """Of the budget's settings of a kind, those of a role and a method, or of any; of two that
        set the same, the later one counts.
        """
        wanted, where = self.budget["generation"], f"{self.file}: generation"
        found = [Group(f"{where}.{name}", None, None, wanted[name])]
        for of, knobs in wanted.get(f"role_{name}", {}).items():
            found.append(Group(f"{where}.role_{name}.{of}", of, None, knobs))
        for by, knobs in wanted.get(f"method_{name}", {}).items():
            found.append(Group(f"{where}.method_{name}", None, by, knobs))
        for of, methods in wanted.get(f"role_method_{name}", {}).items():
            for by, knobs in methods.items():
                found.append(Group(f"{where}.role_method_{name}.{of}", of, by, knobs))
        for group in found:
            fits = role is None or group.role in (None, role)
            if fits and (method is None or group.method in (None, method)):
                yield group


@dataclass(frozen=True)
class Wanted:
    """One row on one dataset: where it stands, and whether its model is asked for a class."""

    dataset: str
    channels: int
    classes: int | None
    role: str
    conditional: bool
    entry: Mapping[str, Any]
    where: str


@cache
def properties(schema_name: str) -> Mapping[str, Any]:
    """The properties of a schema, in their order."""
    return schema(schema_name)["properties"]


def cells(wanted: Wanted, settings: Settings, seeds: list[int]) -> Iterator[tuple[Cell, ...]]:
    """For each seed the row's model and, if it has one, its first stage, of the same seed.

    Raises ConfigError for what does not go together, naming the row and the key.
    """
    entry = {key: value for key, value in wanted.entry.items() if key != "row"}
    known = properties("generation_cell")
    refuse_unknown(entry, set(known) - {"dataset", "seed"}, wanted.where)
    # The first stage is a method here and a cell's name in the schema.
    validate_some(entry, "generation_cell", wanted.where)
    if wanted.conditional and wanted.classes is None:
        raise ConfigError(
            f"{wanted.where}: dataset '{wanted.dataset}' has no classes to be asked for; a role "
            "that the experiment lists under 'conditional' needs a dataset with 'classes'"
        )
    defaults = settings.defaults["generation"]
    if entry["method"] not in defaults["methods"]:
        allowed = ", ".join(defaults["methods"])
        raise ConfigError(
            f"{wanted.where}: method: '{entry['method']}' is not allowed; allowed: {allowed}"
        )
    lacking = {**defaults["knobs"], **defaults["methods"][entry["method"]]}
    start = {**lacking, **settings.knobs(wanted.role, entry["method"])}
    if wanted.conditional:
        entry["conditional"] = True
    elif not {**start, **entry}["conditional"]:
        start |= UNCONDITIONAL
    method = entry.pop("first_stage", None)
    for seed in seeds:
        identity = {"dataset": wanted.dataset, "seed": seed}
        if method is None:
            model = resolve({**identity, "first_stage": None}, start, entry, known, lacking)
            _check(model, wanted, settings)
            yield (model,)
            continue
        first = _first_stage(wanted, settings, method, identity)
        model = resolve({**identity, "first_stage": first.id}, start, entry, known, lacking)
        _check(model, wanted, settings)
        yield _after(model, first), first


def check_some(knobs: Mapping[str, Any], schema_name: str, where: str) -> None:
    """Refuse a setting that there is not, is wrong, or says which run it is. Raises ConfigError."""
    refuse_unknown(knobs, [k for k in properties(schema_name) if k not in IDENTITY], where)
    validate_some(knobs, schema_name, where)


def _check(model: Cell, wanted: Wanted, settings: Settings) -> None:
    where = wanted.where
    validate(dict(model.knobs), "generation_cell", where)
    if model.knobs["conditional"] and wanted.classes is None:
        raise ConfigError(f"{where}: conditional: dataset '{wanted.dataset}' has no classes")
    for misfit in misfits(model.knobs):
        # The row's, if it has a hand in it.
        if misfit.of.isdisjoint(wanted.entry):
            where = settings.where(misfit.of, wanted.role, model.knobs["method"]) or where
        raise ConfigError(f"{where}: {misfit.said}")


def _first_stage(
    wanted: Wanted, settings: Settings, method: str, identity: Mapping[str, Any]
) -> Cell:
    asked = {"method": method, **settings.first_stage(wanted.role, method)}
    known = properties("cell")
    start = base(asked, wanted.channels, wanted.role, settings.budget, settings.defaults)
    where = f"{settings.file}: generation.first_stage"
    allowed = known["method"]["enum"]
    if method not in allowed:
        raise ConfigError(
            f"{wanted.where}: first_stage: '{method}' is not allowed; allowed: {', '.join(allowed)}"
        )
    lacking = defaults_of({**start, **asked}, wanted.channels, settings.defaults)
    first = resolve(identity, start, asked, known, lacking)
    check(first, where)
    return first


def _after(model: Cell, first: Cell) -> Cell:
    """The model under a name that begins with its first stage's: cifar10/ldm/cvq_vae-D4/seed0.

    Behind a plus sign stands what is different about the model itself: cvq_vae-D4+guidance2.
    """
    _, method, variant, _ = first.id.split("/")
    dataset, own, rest, seed = model.id.split("/")
    name = method if variant == "default" else f"{method}-{variant}"
    name = name if rest == "default" else f"{name}+{rest}"
    return Cell(f"{dataset}/{own}/{name}/{seed}", model.knobs, model.defaults)
