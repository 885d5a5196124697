"""Settings of a diffusion model that are right by themselves and do not go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.schema import schema


@dataclass(frozen=True)
class Misfit:
    """of: the keys that do not go together. said: the one to change, its value, what is allowed."""

    of: frozenset[str]
    said: str


def misfits(knobs: Mapping[str, Any]) -> Iterator[Misfit]:
    """What would fail, or sample badly, once training has come that far. knobs: all, and valid."""
    steps, most = knobs["sampling_steps"], knobs["noise_steps"]
    if steps > most:
        said = f"sampling_steps: {steps} is more than noise_steps: {most}"
        yield Misfit(frozenset({"sampling_steps", "noise_steps"}), said)
    elif most % steps:
        # Sampling would begin below the last time, with more noise than images have there.
        divisors = _listed(number for number in range(1, most + 1) if most % number == 0)
        said = (
            f"sampling_steps: {steps} does not divide noise_steps: {most}; allowed: its divisors, "
            f"{divisors}"
        )
        yield Misfit(frozenset({"sampling_steps", "noise_steps"}), said)
    if knobs["guidance"] != 1 and knobs["label_dropout"] == 0:
        said = (
            f"guidance: {knobs['guidance']} of a model that never trains without a class, which "
            "guidance starts from; set label_dropout above 0 or guidance to 1"
        )
        yield Misfit(frozenset({"guidance", "label_dropout"}), said)
    channels, factors = knobs["unet_channels"], knobs["unet_multipliers"]
    widths = [channels * factor for factor in factors]
    if not _even(widths):
        said = (
            f"unet_channels: {channels} makes levels of {_listed(widths)} channels, not all of "
            f"which are multiples of the {_groups(widths)} groups that the U-Net normalises by; "
            f"allowed next to it: {_listed(_near(channels, factors))}"
        )
        yield Misfit(frozenset({"unet_channels", "unet_multipliers"}), said)
    # The block below the last level always attends.
    attending = widths[max(0, len(widths) - knobs["attention_levels"]) :] or widths[-1:]
    if knobs["head_channels"] > min(attending):
        least = schema("generation_cell")["properties"]["head_channels"]["minimum"]
        said = (
            f"head_channels: {knobs['head_channels']} is more than the {min(attending)} channels "
            f"of a level that attends; allowed: {least} to {min(attending)}"
        )
        of = ("head_channels", "unet_channels", "unet_multipliers", "attention_levels")
        yield Misfit(frozenset(of), said)


def _groups(widths: Iterable[int]) -> int:
    """As many as `models.diffusion.backbone` has its norms make."""
    return min(32, *(width // 4 for width in widths))


def _even(widths: Iterable[int]) -> bool:
    return all(width % _groups(widths) == 0 for width in widths)


def _near(channels: int, factors: Iterable[int]) -> list[int]:
    """The next number of channels below, if any, and above that would do."""
    rule = schema("generation_cell")["properties"]["unet_channels"]
    every = range(rule["minimum"], rule["maximum"] + 1, rule["multipleOf"])
    fit = [number for number in every if _even([number * factor for factor in factors])]
    below = [number for number in fit if number < channels]
    above = [number for number in fit if number > channels]
    return below[-1:] + above[:1]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
