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
    train, test = (
        _read(dataset, path, part, new) for path, part in zip(paths, ("train", "test"), strict=True)
    )
    return Decoded(train, test)


def _read(dataset: Dataset, path: Path, part: str, new: Allocate) -> np.ndarray:
    """The images of a database, uint8 (n, c, h, w)."""
    wanted, size = getattr(dataset.images, part), dataset.image_size
    try:
        with lmdb.open(
            str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
        ) as database:
            slots = _slots(database, path, part, wanted)
            images = new(part, (wanted, dataset.channels, size, size))
            with database.begin(buffers=True) as transaction:
                for slot, (key, raw) in zip(slots, transaction.cursor(), strict=True):
                    if slot >= 0:
                        where = f"{path}: {bytes(key).decode('ascii', 'backslashreplace')}"
                        images[slot] = decode(bytes(raw), where, dataset)
    except lmdb.Error as error:
        raise DataError(f"{path}: not a readable LMDB ({error})") from None
    return images


def _slots(database: lmdb.Environment, path: Path, part: str, wanted: int) -> np.ndarray:
    """The place of each entry, counted by key, among the images; -1 for those that are not wanted.

    Raises DataError for a file that is shorter than its header says, as one that was not downloaded
    to its end: reading past its end would end this process without a word.
    """
    size = (path / "data.mdb" if path.is_dir() else path).stat().st_size
    count = database.stat()["entries"]
    needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    if size < needed:
        raise DataError(f"{path}: has {size} bytes, its header asks for {needed}")
    if count < wanted:
        raise DataError(f"{path}: {count} images by its header, must be at least {wanted}")
    slots = np.full(count, -1)
    order = permutation(count) if part == "train" else np.arange(count)
    slots[order[:wanted]] = np.arange(wanted)
    return slots
