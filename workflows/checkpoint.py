"""Trained models and interrupted trainings on disk: safetensors for tensors, JSON for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workflows.files import write_atomically
from workflows.registry import build_autoencoder


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another run; the message names the file."""


@dataclass(frozen=True)
class Trained:
    """model: in evaluation mode. record: the content of train.json."""

    model: nn.Module
    record: Mapping[str, Any]

    @property
    def codebook_size(self) -> int:
        """K."""
        return int(self.record["knobs"]["codebook_size"])


def load_trained(folder: Path) -> Trained:
    """The finished model of a cell's folder. Raises CheckpointError if it does not load."""
    about = folder / "train.json"
    try:
        record = json.loads(about.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{about}: damaged ({error})") from error
    model = build_autoencoder(record["knobs"], record["channels"], record["planned_steps"])
    file = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(file))
    except Exception as error:
        raise CheckpointError(f"{file}: not this cell's model ({error})") from error
    return Trained(model.eval(), record)


def save_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors with string metadata, atomically."""
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # Modules may share a tensor, such as residual quantisers a codebook; a file holds it by name.
    seen: set[int] = set()
    for name, value in contiguous.items():
        if value.untyped_storage().data_ptr() in seen:
            contiguous[name] = value.clone()
        seen.add(value.untyped_storage().data_ptr())
    write_atomically(file, lambda path: save_file(contiguous, path, metadata))


def pack_training(
    model: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = ""
) -> dict[str, Tensor]:
    """Everything a training needs to go on, as named tensors. prefix: of the names."""
    packed = {f"{prefix}model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        packed |= {f"{prefix}optimiser.{index}.{name}": value for name, value in state.items()}
    return packed


def unpack_training(
    packed: Mapping[str, Tensor],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    prefix: str = "",
) -> None:
    """Load what `pack_training` gave. Raises RuntimeError or KeyError if it is of another model."""
    packed = {
        name.removeprefix(prefix): value
        for name, value in packed.items()
        if name.startswith(prefix)
    }
    model.load_state_dict(
        {name.removeprefix("model."): v for name, v in packed.items() if name.startswith("model.")}
    )
    content = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in packed.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            # Moments must have their parameter's memory layout: files hold contiguous tensors, and
            # the fused Adam walks both in memory order without looking at strides.
            like = parameters[int(index)]
            moment = value.shape == like.shape and value.ndim > 0
            state.setdefault(int(index), {})[key] = (
                torch.empty_like(like).copy_(value).detach() if moment else value
            )
    optimiser.load_state_dict({**content, "state": state})


def resume(
    state: Path, identity: str, take: Callable[[Mapping[str, Tensor]], None]
) -> list[dict[str, float]]:
    """Hand an interrupted training to `take` and return its history; none if it was another run's.

    identity: of settings, data and code, as the state's metadata has it beside `history`. Raises
    CheckpointError if the file does not load, or `take` cannot use it.
    """
    if not state.exists():
        return []
    try:
        with safe_open(state, "pt") as file:
            metadata = file.metadata()
        if metadata["identity"] != identity:
            print(f"{state}: of other settings, data or code; starting anew", flush=True)
            return []
        take(load_file(state))
    except Exception as error:
        raise CheckpointError(f"{state}: damaged ({error}); delete it to start anew") from error
    return json.loads(metadata["history"])
