"""Read image databases in LMDB, the format in which LSUN is published."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np

from workflows.config.datasets import Dataset
from workflows.data.archives import any_error_as_data_error
from workflows.data.formats import Allocate, Decoded, in_memory, permutation
from workflows.data.images import decode
from workflows.errors import DataError


def read_lmdb(dataset: Dataset, paths: tuple[Path, ...], allocate: Allocate = in_memory) -> Decoded:
    """Read a database of training images and a database of test images.

    Training images are put into the fixed order. If the dataset asks for fewer than the database
    holds, the first of this order are taken. Raises DataError for a database that is cut short or
    too small, and for an entry that is not an image.
    """
    parts = []
    for path, part in zip(paths, ("train", "test"), strict=True):
        count = getattr(dataset.images, part)
        images = allocate(part, (count, dataset.channels, dataset.image_size, dataset.image_size))
        with any_error_as_data_error(f"{path}: not a readable LMDB"):
            _fill(images, dataset, path, part)
        parts.append(images)
    return Decoded(*parts)


def _fill(images: np.ndarray, dataset: Dataset, path: Path, part: str) -> None:
    is_folder = path.is_dir()
    with lmdb.open(str(path), subdir=is_folder, readonly=True, lock=False, readahead=False) as base:
        # LMDB would read past the end of a file that is too short, which kills the process.
        size = (path / "data.mdb" if is_folder else path).stat().st_size
        needed = (base.info()["last_pgno"] + 1) * base.stat()["psize"]
        if size < needed:
            raise DataError(f"{path}: has {size} bytes, its header asks for {needed}")
        count = base.stat()["entries"]
        if count < len(images):
            raise DataError(f"{path}: {count} images by its header, must be at least {len(images)}")
        # The place of each entry among the images; -1 for entries that are not taken.
        places = np.full(count, -1)
        order = permutation(count) if part == "train" else np.arange(count)
        places[order[: len(images)]] = np.arange(len(images))
        with base.begin(buffers=True) as transaction:
            for place, (key, raw) in zip(places, transaction.cursor(), strict=True):
                if place >= 0:
                    where = f"{path}: {bytes(key).decode('ascii', 'backslashreplace')}"
                    images[place] = decode(bytes(raw), where, dataset)
