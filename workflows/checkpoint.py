"""Trained models and interrupted trainings on disk: safetensors for tensors, JSON for the rest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workflows.files import digest, write_atomically
from workflows.registry import build_autoencoder

# The name of the state before the last, beside it.
PREVIOUS = "previous.safetensors"
# In the metadata of a file.
ABOUT, CHECKSUM = "about", "checksum"


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
    check_model(file, record)
    tensors, _ = read_tensors(file)
    try:
        model.load_state_dict(tensors)
    except Exception as error:
        raise CheckpointError(f"{file}: not this cell's model ({error})") from error
    return Trained(model.eval(), record)


def check_model(file: Path, record: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a model whose bytes are not those that training wrote.

    record: the content of train.json; one that was written before models had digests says nothing.
    """
    again = f"train this cell again with --config retrain={record.get('cell')}"
    try:
        found = digest(file)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error}); {again}") from error
    if record.get("model_sha256", found) != found:
        raise CheckpointError(f"{file}: damaged, its SHA-256 is not the one in train.json; {again}")


def save_tensors(
    file: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str],
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write tensors with string metadata and a checksum of both, atomically.

    before: see `write_atomically`.
    """
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # Modules may share a tensor, such as residual quantisers a codebook; a file holds it by name.
    seen: set[int] = set()
    for name, value in contiguous.items():
        if value.untyped_storage().data_ptr() in seen:
            contiguous[name] = value.clone()
        seen.add(value.untyped_storage().data_ptr())
    # One entry, because a file keeps several in a random order, and equal content should be equal
    # bytes.
    summed = {ABOUT: json.dumps({**metadata, CHECKSUM: _checksum(contiguous, metadata)})}

    def write(path: Path) -> None:
        try:
            save_file(contiguous, path, summed)
        except SafetensorError as error:
            # What the library says of a full disk.
            raise OSError(str(error)) from error

    write_atomically(file, write, before)


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata that `save_tensors` wrote; CheckpointError for anything else."""
    try:
        with safe_open(file, "pt") as opened:
            metadata = json.loads((opened.metadata() or {})[ABOUT])
        tensors = load_file(file)
    except Exception as error:
        raise CheckpointError(f"{file}: damaged ({error})") from error
    wanted = metadata.pop(CHECKSUM, None)
    if _checksum(tensors, metadata) != wanted:
        raise CheckpointError(f"{file}: damaged (its checksum is not that of its content)")
    return tensors, metadata


def save_state(state: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write where an interrupted training goes on, and keep the state before it.

    metadata: `identity`, see `resume`, and `history`, the records so far as JSON.
    """
    save_tensors(state, tensors, metadata, before=lambda: _keep(state))


def _keep(state: Path) -> None:
    """Give the state a second name, so that it outlives the file that takes its first one."""
    if not state.exists():
        return
    temporary = state.with_name(f".{PREVIOUS}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(state, temporary)
    except OSError:
        # Some file systems have no second names.
        shutil.copyfile(state, temporary)
    temporary.replace(state.with_name(PREVIOUS))


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    summed = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        summed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        summed.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return summed.hexdigest()


def load_state(state: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """The tensors and metadata of the newest whole state, of two; None if there is none at all.

    Raises CheckpointError, naming the files and what to do, if there are some and none is whole.
    """
    complaints = []
    for file in (state, state.with_name(PREVIOUS)):
        if not file.exists():
            continue
        try:
            found = read_tensors(file)
        except CheckpointError as error:
            complaints.append(str(error))
            continue
        for complaint in complaints:
            print(f"{complaint}; going on from {file}", flush=True)
        return found
    if complaints:
        raise CheckpointError(f"{'; '.join(complaints)}; delete it to start anew")
    return None


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

    identity: of settings, data and code, as the state's metadata has it beside `history`. Where the
    last state is damaged, the one before it is taken. Raises CheckpointError if none of both is
    whole, or `take` cannot use it.
    """
    found = load_state(state)
    if found is None:
        return []
    tensors, metadata = found
    if metadata["identity"] != identity:
        print(f"{state}: of other settings, data or versions; starting anew", flush=True)
        return []
    try:
        take(tensors)
    except Exception as error:
        raise CheckpointError(
            f"{state}: not this model's ({error}); delete it to start anew"
        ) from error
    return json.loads(metadata["history"])
