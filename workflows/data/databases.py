"""Reader of image databases: LMDB, as LSUN is published."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np

from workflows.config.datasets import Dataset
from workflows.data.formats import Allocate, Decoded, in_memory, permutation
from workflows.data.images import decode
from workflows.errors import DataError


def read_lmdb(dataset: Dataset, paths: tuple[Path, ...], new: Allocate = in_memory) -> Decoded:
    """Two databases of encoded images by key, those to train on and those to test on.

    Training images are put into the fixed order, counted by their keys, of which the first are
    taken if the dataset asks for fewer than there are. new: gives the arrays. Raises DataError for
    a database that is cut short or too small, and for an entry that is no image.
    """
    sides = []
    for path, part in zip(paths, ("train", "test"), strict=True):
        size = dataset.image_size
        images = new(part, (getattr(dataset.images, part), dataset.channels, size, size))
        try:
            _fill(images, dataset, path, part)
        except (lmdb.Error, OSError) as error:
            raise DataError(f"{path}: not a readable LMDB ({error})") from None
        sides.append(images)
    return Decoded(*sides)


def _fill(images: np.ndarray, dataset: Dataset, path: Path, part: str) -> None:
    folder = path.is_dir()
    with lmdb.open(str(path), subdir=folder, readonly=True, lock=False, readahead=False) as base:
        # LMDB would read past the end of a shorter file, which ends the process.
        size = (path / "data.mdb" if folder else path).stat().st_size
        needed = (base.info()["last_pgno"] + 1) * base.stat()["psize"]
        if size < needed:
            raise DataError(f"{path}: has {size} bytes, its header asks for {needed}")
        count, wanted = base.stat()["entries"], len(images)
        if count < wanted:
            raise DataError(f"{path}: {count} images by its header, must be at least {wanted}")
        # The place of each entry among the images; -1 for those that are not wanted.
        slots = np.full(count, -1)
        order = permutation(count) if part == "train" else np.arange(count)
        slots[order[:wanted]] = np.arange(wanted)
        with base.begin(buffers=True) as transaction:
            for slot, (key, raw) in zip(slots, transaction.cursor(), strict=True):
                if slot >= 0:
                    where = f"{path}: {bytes(key).decode('ascii', 'backslashreplace')}"
                    images[slot] = decode(bytes(raw), where, dataset)
