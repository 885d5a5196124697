"""safetensors files with a checksum of their content.

`save_tensors` and `read_tensors` are for tensors that fit in memory. `write_rows` and `open_rows`
are for one large array that is written and read by parts, which the library cannot do. The format
is a length, a header in JSON and the tensors' bytes (github.com/huggingface/safetensors, "Format"),
so the bytes can be memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from workflows.errors import BenchmarkError
from workflows.files import write_atomically

# Keys of a file's metadata. The library stores several keys in a random order, so `save_tensors`
# writes one key that holds all of its metadata: equal content is then equal bytes.
ABOUT, CHECKSUM = "about", "checksum"
# Bytes before a large array. What the header says of the array, such as its scale, may be known
# only once the array is written, so the header is padded with spaces, as the format allows.
ROOM, LENGTH = 4096, 8
# Numbers that are hashed at a time.
BLOCK = 1 << 20
# A large array of up to so many bytes is read and compared with its checksum when it is opened.
WHOLE = 1 << 31


class CheckpointError(BenchmarkError):
    """A checkpoint that is missing, damaged or of another run; the message names the file."""


@dataclass(frozen=True)
class Stored:
    """rows: float32, memory-mapped, read only. metadata: the file's texts, by name."""

    rows: np.ndarray
    metadata: dict[str, str]


def save_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors with string metadata and a checksum of both, atomically."""
    write_atomically(file, lambda path: write_tensors(path, tensors, metadata))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """The same, but not atomically. Raises OSError."""
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # Modules may share a tensor, as residual quantisers share a codebook. A file has no shared
    # tensors.
    seen: set[int] = set()
    for name, value in contiguous.items():
        if value.untyped_storage().data_ptr() in seen:
            contiguous[name] = value.clone()
        seen.add(value.untyped_storage().data_ptr())
    about = {ABOUT: json.dumps({**metadata, CHECKSUM: _sum_of_tensors(contiguous, metadata)})}
    try:
        save_file(contiguous, path, about)
    except SafetensorError as error:
        # The library's error for a full disk.
        raise OSError(str(error)) from error


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata that `save_tensors` wrote. Raises CheckpointError."""
    try:
        with safe_open(file, "pt") as opened:
            metadata = json.loads((opened.metadata() or {})[ABOUT])
        tensors = load_file(file)
    except Exception as error:
        raise CheckpointError(f"{file}: damaged ({error})") from error
    expected = metadata.pop(CHECKSUM, None)
    if _sum_of_tensors(tensors, metadata) != expected:
        raise CheckpointError(f"{file}: damaged (its checksum is not that of its content)")
    return tensors, metadata


def write_rows(
    file: Path, name: str, shape: tuple[int, ...], fill: Callable[[np.ndarray], dict[str, str]]
) -> None:
    """Write a float32 tensor `name`, atomically.

    fill: gets the array, memory-mapped and zero, fills it and returns the file's metadata. Raises
    ValueError for metadata of more than 4 kB.
    """

    def write(path: Path) -> None:
        rows = np.memmap(path, "<f4", "w+", ROOM, shape)
        metadata = fill(rows)
        metadata = {**metadata, CHECKSUM: _sum_of_rows(rows)}
        rows.flush()
        about = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, rows.nbytes]}
        header = json.dumps({"__metadata__": metadata, name: about}).encode()
        if len(header) > ROOM - LENGTH:
            raise ValueError(f"{file}: metadata of {len(header)} bytes, at most {ROOM - LENGTH}")
        with path.open("r+b") as handle:
            handle.write((ROOM - LENGTH).to_bytes(LENGTH, "little"))
            handle.write(header.ljust(ROOM - LENGTH))

    write_atomically(file, write)


def open_rows(file: Path, name: str) -> Stored:
    """A float32 tensor of a safetensors file, of which only the parts that are used are read.

    Raises SafetensorError or ValueError for a file that is damaged or cut short, KeyError for
    another name.
    """
    # The library checks header and length.
    with safe_open(file, "np") as opened:
        metadata = opened.metadata() or {}
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(LENGTH), "little")
        about: dict[str, Any] = json.loads(handle.read(length))[name]
    if about["dtype"] != "F32":
        raise ValueError(f"{file}: {name} is {about['dtype']}, must be F32")
    start, _ = about["data_offsets"]
    rows = np.memmap(file, "<f4", "r", LENGTH + length + start, tuple(about["shape"]))
    expected = metadata.pop(CHECKSUM, None)
    if rows.nbytes <= WHOLE and _sum_of_rows(rows) != expected:
        raise ValueError("its checksum is not that of its content")
    return Stored(rows, metadata)


def _sum_of_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    summed = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        summed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        summed.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return summed.hexdigest()


def _sum_of_rows(rows: np.ndarray) -> str:
    flat, summed = rows.reshape(-1), hashlib.sha256()
    for start in range(0, flat.size, BLOCK):
        summed.update(np.ascontiguousarray(flat[start : start + BLOCK]).data)
    return summed.hexdigest()
