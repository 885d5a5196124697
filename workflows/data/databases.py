"""Reader of image databases: LMDB, as LSUN is published."""

from __future__ import annotations

import faulthandler
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import numpy as np

from workflows.config.datasets import Dataset
from workflows.data.formats import Allocate, Decoded, in_memory, permutation
from workflows.data.images import decode
from workflows.errors import DataError

SMALLEST = 16  # bytes of an entry: its place in a page, its header, a key, a value


def read_lmdb(dataset: Dataset, paths: tuple[Path, ...], new: Allocate = in_memory) -> Decoded:
    """Two databases of encoded images by key, those to train on and those to test on.

    Training images are put into the fixed order, counted by their keys, of which the first are
    taken if the dataset asks for fewer than there are. new: gives the arrays, which forked
    processes share. Raises DataError for a database that is damaged or too small, and for an entry
    that is no image.
    """
    train, test = (
        _apart(dataset, path, part, new)
        for path, part in zip(paths, ("train", "test"), strict=True)
    )
    return Decoded(train, test)


def _apart(dataset: Dataset, path: Path, part: str, new: Allocate) -> np.ndarray:
    """Return the images of a database, which a process of its own reads.

    LMDB trusts the offsets within its file, so a damaged file can end the process that reads it.
    """
    size = dataset.image_size
    images = new(part, (getattr(dataset.images, part), dataset.channels, size, size))
    forked = multiprocessing.get_context("fork")
    ours, theirs = forked.Pipe(duplex=False)
    reader = forked.Process(target=_fill, args=(images, theirs, dataset, path, part))
    reader.start()
    reader.join()
    if ours.poll():
        raise DataError(ours.recv())
    if reader.exitcode:
        raise DataError(f"{path}: damaged: reading it ended the process; get the database again")
    return images


def _fill(images: np.ndarray, theirs: Connection, dataset: Dataset, path: Path, part: str) -> None:
    """Fill `images`, uint8 (n, c, h, w), and send a message if something is wrong."""
    # The other process reports in one line how this process ends.
    faulthandler.disable()
    folder = path.is_dir()
    try:
        with lmdb.open(str(path), subdir=folder, readonly=True, lock=False, readahead=False) as db:
            slots = _slots(db, path, part, len(images))
            with db.begin(buffers=True) as transaction:
                for slot, (key, raw) in zip(slots, transaction.cursor(), strict=True):
                    where = f"{path}: {bytes(key).decode('ascii', 'backslashreplace')}"
                    if slot >= 0:
                        images[slot] = decode(bytes(raw), where, dataset)
    except DataError as error:
        theirs.send(str(error))
    # A damaged database may raise nearly anything.
    except Exception as error:
        theirs.send(f"{path}: not a readable LMDB ({error or type(error).__name__})")


def _slots(database: lmdb.Environment, path: Path, part: str, wanted: int) -> np.ndarray:
    """The place of each entry, counted by key, among the images; -1 for those that are not wanted.

    Raises DataError for a file that is shorter than its header says: reading past its end would
    end this process.
    """
    size = (path / "data.mdb" if path.is_dir() else path).stat().st_size
    count = database.stat()["entries"]
    needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    if size < needed:
        raise DataError(f"{path}: has {size} bytes, its header asks for {needed}")
    if not wanted <= count <= size // SMALLEST:
        raise DataError(f"{path}: {count} images by its header, must be at least {wanted}")
    slots = np.full(count, -1)
    order = permutation(count) if part == "train" else np.arange(count)
    slots[order[:wanted]] = np.arange(wanted)
    return slots
