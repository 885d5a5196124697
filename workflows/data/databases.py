"""Reader of image databases: LMDB, as LSUN is published."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np

from workflows.data.formats import permutation
from workflows.data.images import decode
from workflows.data.registry import Allocate, DataError, Dataset, Decoded, in_memory


def read_lmdb(dataset: Dataset, paths: tuple[Path, ...], new: Allocate = in_memory) -> Decoded:
    """Two databases of encoded images by key, those to train on and those to test on.

    Training images are taken in the order of their keys, then put into the fixed order; where the
    dataset asks for fewer than there are, it is the first of that order. Raises DataError for a
    database that is cut short, empty, too small or holds what is no image. new: gives the arrays;
    beside them there is one image in memory at a time, and two numbers an entry.
    """
    train, test = (
        _read(dataset, path, part, new) for path, part in zip(paths, ("train", "test"), strict=True)
    )
    return Decoded(train, test)


def _read(dataset: Dataset, path: Path, part: str, new: Allocate) -> np.ndarray:
    wanted = dataset.images[part]
    try:
        with lmdb.open(
            str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
        ) as database:
            _check_whole(database, path)
            count = database.stat()["entries"]
            if count < wanted:
                raise DataError(f"{path}: {count} images, must be at least {wanted}")
            # Slot of each entry, counted by key; -1 for those that are not wanted.
            slots = np.full(count, -1)
            order = permutation(count) if part == "train" else np.arange(count)
            slots[order[:wanted]] = np.arange(wanted)
            size = dataset.image_size
            images = new(part, (wanted, dataset.channels, size, size))
            with database.begin() as transaction:
                for slot, (key, raw) in zip(slots, transaction.cursor(), strict=True):
                    if slot >= 0:
                        where = f"{path}: {key.decode('ascii', 'replace')}"
                        images[slot] = decode(bytes(raw), where, dataset)
            return images
    except lmdb.Error as error:
        raise DataError(f"{path}: not a readable LMDB ({error})") from None


def _check_whole(database: lmdb.Environment, path: Path) -> None:
    """Reading past the end of a file that was cut short would end this process with SIGBUS."""
    pages = database.info()["last_pgno"] + 1
    needed = pages * database.stat()["psize"]
    file = path / "data.mdb" if path.is_dir() else path
    if file.stat().st_size < needed:
        raise DataError(f"{file}: has {file.stat().st_size} bytes, its header asks for {needed}")
