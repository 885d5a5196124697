"""A small dataset, and files of the kinds that readers read."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from workflows.config.datasets import Dataset, read_dataset
from workflows.config.reading import parse

SMALL = {"image_size": 16, "options": {}, "images": {"train": 4, "test": 2}, "validation": 1}


def changed(name: str, **changes: Any) -> Dataset:
    """A dataset of ours with other settings."""
    content = read_dataset(name).model_dump(exclude_unset=True)
    return parse({**content, **changes}, Dataset, name)


def small(**changes: Any) -> Dataset:
    """An image folder of four training and two test images of 16 x 16 pixels."""
    return changed("ffhq_subset_64", **{**SMALL, **changes})


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(size: int = 16, value: int = 0) -> bytes:
    return encoded(Image.new("RGB", (size, size), (value, value, value)))


def six(folder: Path, names: list[str] | None = None) -> Path:
    """A folder of images of the values 0 to 5."""
    for k, name in enumerate(names or [f"{k}.png" for k in range(6)]):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(png(value=k))
    return folder


def tar(path: Path, entries: Iterable[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    """An archive that is compressed as its name says."""
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as archive:
        for member_or_name, content in entries:
            is_name = isinstance(member_or_name, str)
            member = tarfile.TarInfo(member_or_name) if is_name else member_or_name
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path: Path, entries: Iterable[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member_or_name, content in entries:
            archive.writestr(member_or_name, content, zipfile.ZIP_DEFLATED)
    return path


def idx(path: Path, count: int = 3, cut: int = 0) -> Path:
    header = np.array([0x803, count, 28, 28], ">u4").tobytes()
    raw = header + bytes(count * 784)
    path.write_bytes(gzip.compress(raw[: len(raw) - cut]))
    return path


def database(path: Path, values: Iterable[int], size: int = 16) -> Path:
    with lmdb.open(str(path), map_size=2**24) as base, base.begin(write=True) as transaction:
        for k, value in enumerate(values):
            transaction.put(f"{k:06}".encode(), png(size, value))
    return path
