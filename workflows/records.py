"""What the records of a cell say it was made with, to hold against what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflows.generation_grid import sampling


def made_with(record: Mapping[str, Any], sampled: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in train.json and, of a diffusion model, in sampling.json; {} for no such file.

    Raises KeyError for a record of training that does not say them.
    """
    return {**record["knobs"], **sampling(sampled)}


def changed(
    knobs: Mapping[str, Any], record: Mapping[str, Any], sampled: Mapping[str, Any]
) -> Iterator[str]:
    """In words, each setting that is asked for and that the records have otherwise.

    What they do not mention is not known to differ.
    """
    found = made_with(record, sampled) if "knobs" in record else {}
    for key in sorted({*knobs} & {*found}):
        if knobs[key] != found[key]:
            yield difference(key, found, knobs)


def difference(key: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A setting in words, None where one side lacks it."""
    return f"{key} was {was.get(key)}, is {now.get(key)}"
