"""safetensors files of named tensors (`save_tensors`) or of one large array (`write_rows`).

The large array is memory-mapped while parts of it are written or read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workflows.errors import BenchmarkError
from workflows.files import write_atomically

# Keys of metadata. The library stores several keys in a random order, so `save_tensors` writes a
# single key, which holds all metadata as JSON: equal content then gives equal bytes.
METADATA, CHECKSUM = "about", "checksum"


class CheckpointError(BenchmarkError):
    """A file that is missing, damaged or of another run; the message names the file."""


def save_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors with metadata and a checksum of both, atomically."""
    # Modules may share a tensor, as residual quantisers share a codebook, but the library refuses
    # shared tensors, so each is copied.
    copies = {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    stored_metadata = {**metadata, CHECKSUM: _checksum(copies, metadata)}
    header = {METADATA: json.dumps(stored_metadata)}
    write_atomically(file, lambda path: _save(copies, path, header))


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        # The library raises this error when the disk is full.
        raise OSError(str(error)) from error


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    checksum = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        checksum.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        checksum.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata that `save_tensors` wrote. Raises CheckpointError."""
    try:
        with safe_open(file, "pt") as opened:
            metadata = json.loads(opened.metadata()[METADATA])
            tensors = {name: opened.get_tensor(name) for name in opened.offset_keys()}
    except Exception as error:
        raise CheckpointError(f"{file}: damaged ({error})") from error
    expected = metadata.pop(CHECKSUM, None)
    if _checksum(tensors, metadata) != expected:
        raise CheckpointError(f"{file}: damaged (its checksum is not that of its content)")
    return tensors, metadata


def write_rows(
    file: Path, name: str, shape: tuple[int, ...], fill: Callable[[np.ndarray], dict[str, str]]
) -> None:
    """Write a float32 tensor `name`, atomically.

    fill: gets the array, memory-mapped and zero, fills it and returns the file's metadata.
    """

    def write(path: Path) -> None:
        # The file begins with the metadata, which is known last. So the rows are written to a
        # temporary file, from which the library copies them.
        temporary = path.with_suffix(".rows")
        try:
            rows = np.memmap(temporary, "<f4", "w+", shape=shape)
            metadata = fill(rows)
            _save({name: torch.from_numpy(rows)}, path, metadata)
        finally:
            temporary.unlink(missing_ok=True)

    write_atomically(file, write)


def open_rows(
    file: Path, name: str, expected: Mapping[str, str] | None = None
) -> tuple[np.ndarray, dict[str, str]]:
    """Return the float32 tensor of a file, memory-mapped and read only, and the file's metadata.

    expected: metadata that the file must have. Raises CheckpointError for any other file.
    """
    try:
        # The library checks the header and the length of the file.
        with safe_open(file, "np") as opened:
            metadata = opened.metadata() or {}
            shape = opened.get_slice(name).get_shape()
        # The numbers are the end of the file.
        start = file.stat().st_size - 4 * math.prod(shape)
        rows = np.memmap(file, "<f4", "r", start, tuple(shape))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{file}: damaged ({error}); make it again") from error
    for key, value in (expected or {}).items():
        if metadata.get(key) != value:
            raise CheckpointError(f"{file}: {key} is {metadata.get(key)}, must be {value}")
    return rows, metadata
