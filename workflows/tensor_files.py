"""One large tensor in a safetensors file, written and read by parts.

The library writes a tensor that is in memory, and its readers copy or reserve the whole. The format
is a length, a header in JSON and the bytes (github.com/huggingface/safetensors, "Format"), so parts
of those bytes can be mapped. What is written here the library reads; what is read here has a
checksum, as all that is written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from workflows.files import write_atomically

# Bytes before the tensor. The header is padded with spaces, which the format allows, because what
# it says of the tensor, such as its scale, may be known only once the tensor is there.
ROOM = 4096
LENGTH = 8
CHECKSUM = "checksum"
# Numbers that are hashed at a time.
BLOCK = 1 << 20
# Files up to so many bytes are read whole and held against their checksum when they are opened.
WHOLE = 1 << 31


@dataclass(frozen=True)
class Stored:
    """rows: float32, memory-mapped, read only. metadata: the file's texts, by name."""

    rows: np.ndarray
    metadata: dict[str, str]


def write_rows(
    file: Path,
    name: str,
    shape: tuple[int, ...],
    fill: Callable[[np.ndarray], dict[str, str]],
) -> None:
    """Write a float32 tensor `name`, atomically.

    fill: gets it, memory-mapped and zero, fills it and returns the file's metadata. Raises
    ValueError for metadata of more than 4 kB.
    """

    def write(path: Path) -> None:
        rows = np.memmap(path, "<f4", "w+", ROOM, shape)
        metadata = fill(rows)
        metadata = {**metadata, CHECKSUM: _checksum(rows)}
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
        about = json.loads(handle.read(length))[name]
    if about["dtype"] != "F32":
        raise ValueError(f"{file}: {name} is {about['dtype']}, must be F32")
    start, _ = about["data_offsets"]
    rows = np.memmap(file, "<f4", "r", LENGTH + length + start, tuple(about["shape"]))
    wanted = metadata.pop(CHECKSUM, None)
    if rows.nbytes <= WHOLE and _checksum(rows) != wanted:
        raise ValueError("its checksum is not that of its content")
    return Stored(rows, metadata)


def _checksum(rows: np.ndarray) -> str:
    flat, summed = rows.reshape(-1), hashlib.sha256()
    for start in range(0, flat.size, BLOCK):
        summed.update(np.ascontiguousarray(flat[start : start + BLOCK]).data)
    return summed.hexdigest()
