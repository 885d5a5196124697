"""A cell, one run: what it is called and every knob's value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.reading import validate
from workflows.registry import knobs_taken
from workflows.schema import ConfigError

# What says which run it is; a row, a role and a seed decide it, not a setting.
IDENTITY = frozenset({"dataset", "method", "seed", "first_stage"})


@dataclass(frozen=True)
class Cell:
    """One training run. id: `<dataset>/<method>/<variant>/seed<k>`. knobs: the value of each that
    its method and network take. defaults: what stands for one that a finished run's record lacks.
    """

    id: str
    knobs: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def first_stage(self) -> str | None:
        """Id of the cell whose latents it diffuses, if it is a diffusion model that has one."""
        return self.knobs.get("first_stage")

    @property
    def stage(self) -> int:
        """1: an autoencoder. 2: a diffusion model."""
        return 2 if "first_stage" in self.knobs else 1


def base(
    wanted: Mapping[str, Any],
    channels: int,
    role: str,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """What a row starts from: the defaults, of its method and network, the budget's, its role's."""
    of_method = defaults["methods"].get(wanted["method"], {})
    asked = {**of_method, **settings["knobs"], **settings.get("role_knobs", {}).get(role, {})}
    network = wanted.get("network", asked.get("network", "convnet"))
    return {
        **defaults_of({**wanted, "network": network}, channels, defaults),
        **(settings.get("network_knobs", {}).get(network, {})),
        **asked,
    }


def defaults_of(
    wanted: Mapping[str, Any], channels: int, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The defaults of an autoencoder's method and network, whatever the budget."""
    return {
        **defaults["knobs"],
        **(defaults["colour"] if channels == 3 else {}),
        **defaults["networks"].get(wanted["network"], {}),
        **defaults["methods"].get(wanted["method"], {}),
    }


def resolve(
    identity: Mapping[str, Any],
    base: Mapping[str, Any],
    wanted: Mapping[str, Any],
    properties: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Cell:
    """The cell of a row. identity: dataset and seed. The id names the knobs that differ from
    `base`, what the row starts from at this budget. defaults: of every budget.
    """
    knobs = taken({**identity, **base, **wanted})
    different = [
        slug(schema["x-slug"], knobs[name])
        for name, schema in properties.items()
        if "x-slug" in schema and name in knobs and knobs[name] != base.get(name)
    ]
    variant = "-".join(different) or "default"
    method, dataset, seed = knobs["method"], knobs["dataset"], knobs["seed"]
    return Cell(f"{dataset}/{method}/{variant}/seed{seed}", knobs, defaults)


def taken(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Of the knobs of an autoencoder those that its method and network take; all of others."""
    if "first_stage" in knobs:
        return dict(knobs)
    names = {*IDENTITY, *knobs_taken(knobs["method"], knobs["network"])}
    return {name: value for name, value in knobs.items() if name in names}


def slug(pattern: str, value: Any) -> str:
    """How a cell's id names a value, such as D4; a flag that is turned off is no_contrastive."""
    if isinstance(value, bool):
        return pattern if value else f"no_{pattern}"
    if isinstance(value, list):
        return pattern.format(".".join(map(str, value)))
    return pattern.format("all" if value is None else value)


# AlexNet's second pooling has nothing left of fewer pixels.
FEWEST_PIXELS = {"vgg": 16, "alex": 31}


def check_size(cell: Cell, pixels: int, where: str) -> None:
    """Refuse a network that images of so many pixels a side do not fit. Raises ConfigError."""
    if cell.knobs.get("network") != "vqgan":
        return
    dataset, factor = cell.knobs["dataset"], cell.knobs["downsampling"]
    if pixels % factor:
        raise ConfigError(
            f"{where}: downsampling: the {pixels} pixels of '{dataset}' are not a multiple of "
            f"{factor}"
        )
    backbone = cell.knobs["perceptual_network"]
    if pixels < FEWEST_PIXELS[backbone]:
        fitting = [name for name, fewest in FEWEST_PIXELS.items() if pixels >= fewest]
        raise ConfigError(
            f"{where}: perceptual_network: '{backbone}' needs {FEWEST_PIXELS[backbone]} pixels, "
            f"'{dataset}' has {pixels}; allowed: {', '.join(fitting) or 'none'}"
        )


def check(cell: Cell, where: str) -> None:
    """Refuse an autoencoder whose knobs are wrong, or do not go together. Raises ConfigError."""
    validate(dict(cell.knobs), "cell", where)
    groups = cell.knobs.get("channel_groups", 1)
    if cell.knobs["code_dim"] % groups:
        raise ConfigError(
            f"{where}: code_dim: {cell.knobs['code_dim']} is not a multiple of "
            f"channel_groups: {groups}"
        )
