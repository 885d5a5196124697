"""Trained models and the states of interrupted trainings on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from workflows.config.records import TrainRecord, read
from workflows.files import digest
from workflows.knobs import Training
from workflows.registry import (
    build_autoencoder,
    codebook_size,
    parse_knobs,
    refuse_edited_plugin,
)
from workflows.training.tensor_files import CheckpointError, read_tensors


@dataclass(frozen=True)
class Trained:
    """model: in evaluation mode. knobs: the settings of its training. record: its train.json."""

    model: nn.Module
    knobs: Training
    record: TrainRecord

    @property
    def codes(self) -> int | None:
        """The codebook size K; None for a model without a codebook."""
        return codebook_size(self.knobs)


def load_trained(folder: Path) -> Trained:
    """The autoencoder in a cell's folder. Raises CheckpointError if it cannot be loaded, and
    ConfigError if its plug-in was edited.
    """
    record = read(folder / "train.json", TrainRecord)
    knobs = parse_knobs(record.knobs)
    assert isinstance(knobs, Training), "the knobs of an autoencoder"
    refuse_edited_plugin(knobs, record.versions)
    model = build_autoencoder(knobs, record.channels, record.planned_steps)
    load_model(folder / "model.safetensors", record, model)
    return Trained(model.eval(), knobs, record)


def load_model(file: Path, record: TrainRecord, model: nn.Module) -> None:
    """Load the weights that a training wrote. record: its train.json.

    Raises CheckpointError for a file that is damaged or of another model. Records of the first
    release have no digest; their models have a checksum of their own.
    """
    try:
        if record.model_sha256 not in (None, digest(file)):
            raise CheckpointError("damaged, its SHA-256 is not the one in train.json")
        tensors, _ = read_tensors(file)
        model.load_state_dict(tensors)
    except Exception as error:
        raise CheckpointError(
            f"{file}: not this cell's model ({error}); train this cell again with "
            f"--config retrain={record.cell}"
        ) from error


def resume(
    state: Path, identity: str, unpack: Callable[[Mapping[str, Tensor]], None]
) -> list[dict[str, float]]:
    """Give the tensors of an interrupted training to `unpack` and return its history.

    identity: of settings, data and versions; the state of another run is ignored, and the history
    is then empty. Raises CheckpointError for a state that is damaged or that `unpack` cannot use.
    """
    if not state.exists():
        return []
    try:
        tensors, metadata = read_tensors(state)
        if metadata["identity"] != identity:
            print(f"{state}: of other settings, data or versions; starting anew", flush=True)
            return []
        unpack(tensors)
    except Exception as error:
        raise CheckpointError(
            f"{state}: no training can go on from this file ({error}); delete it to start anew"
        ) from error
    return json.loads(metadata["history"])


def pack_training(
    model: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = ""
) -> dict[str, Tensor]:
    """A model and its optimiser as named tensors. prefix: of the names."""
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
    model.load_state_dict(with_prefix(packed, f"{prefix}model."))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in with_prefix(packed, f"{prefix}optimiser.").items():
        index, key = name.split(".")
        # Moments must have their parameter's memory layout: files hold contiguous tensors, and the
        # fused Adam walks both in memory order without looking at strides.
        like = parameters[int(index)]
        moment = value.shape == like.shape and value.ndim > 0
        state.setdefault(int(index), {})[key] = (
            torch.empty_like(like).copy_(value).detach() if moment else value
        )
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def with_prefix(packed: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, named without it."""
    return {n.removeprefix(prefix): v for n, v in packed.items() if n.startswith(prefix)}
