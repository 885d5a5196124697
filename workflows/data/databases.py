"""Reader of image databases: LMDB, as LSUN is published."""

from __future__ import annotations

import faulthandler
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import numpy as np

from workflows.config.datasets import Dataset
from workflows.data.archives import LARGEST
from workflows.data.formats import Allocate, Decoded, in_memory, permutation
from workflows.data.images import decode
from workflows.errors import DataError

SMALLEST = 16  # bytes of an entry: its place in a page, its header, a key, a value


def read_lmdb(dataset: Dataset, paths: tuple[Path, ...], new: Allocate = in_memory) -> Decoded:
    """Two databases of encoded images by key, those to train on and those to test on.

    Training images are put into the fixed order, counted by their keys; if the dataset asks for
    fewer images than there are, the first of that order are taken. new: gives the arrays, which
    forked processes share; beside the arrays, memory holds one image at a time and two numbers an
    entry. Raises DataError for a database that is cut short, damaged, empty or too small, and for
    an entry that is no image.
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
    size, wanted = dataset.image_size, getattr(dataset.images, part)
    room = _size(path) // SMALLEST
    if room < wanted:  # Before memory for so many images is taken.
        raise DataError(f"{path}: has room for {room} images, must have at least {wanted}")
    images = new(part, (wanted, dataset.channels, size, size))
    forked = multiprocessing.get_context("fork")
    ours, theirs = forked.Pipe(duplex=False)
    reader = forked.Process(target=_report, args=(theirs, dataset, path, part, images))
    reader.start()
    reader.join()
    if ours.poll():
        raise DataError(ours.recv())
    if reader.exitcode:
        raise DataError(f"{path}: damaged: reading it ended the process; get the database again")
    return images


def _report(
    theirs: Connection, dataset: Dataset, path: Path, part: str, images: np.ndarray
) -> None:
    """Fill `images`, and send a message if something is wrong."""
    # The other process reports in one line how this process ends.
    faulthandler.disable()
    try:
        _read(dataset, path, part, images)
    except DataError as error:
        theirs.send(str(error))
    # A damaged database may raise nearly anything.
    except Exception as error:
        theirs.send(f"{path}: not a readable LMDB ({error or type(error).__name__})")


def _read(dataset: Dataset, path: Path, part: str, images: np.ndarray) -> None:
    """Fill `images`, uint8 (n, c, h, w)."""
    wanted = len(images)
    with lmdb.open(
        str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
    ) as database:
        # Reading past the end of a file that was cut short would end this process with SIGBUS.
        needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
        if _size(path) < needed:
            raise DataError(f"{path}: has {_size(path)} bytes, its header asks for {needed}")
        count = database.stat()["entries"]
        if not wanted <= count <= _size(path) // SMALLEST:
            raise DataError(f"{path}: {count} images by its header, must be at least {wanted}")
        # Slot of each entry, counted by key; -1 for those that are not wanted.
        slots = np.full(count, -1)
        order = permutation(count) if part == "train" else np.arange(count)
        slots[order[:wanted]] = np.arange(wanted)
        with database.begin(buffers=True) as transaction:
            for slot, (key, raw) in zip(slots, transaction.cursor(), strict=True):
                if slot >= 0:
                    where = f"{path}: {bytes(key).decode('ascii', 'backslashreplace')}"
                    if len(raw) > LARGEST:
                        raise DataError(f"{where}: has {len(raw)} bytes; at most {LARGEST}")
                    images[slot] = decode(bytes(raw), where, dataset)


def _size(path: Path) -> int:
    try:
        return (path / "data.mdb" if path.is_dir() else path).stat().st_size
    except OSError as error:
        raise DataError(f"{path}: not a readable LMDB ({error.strerror})") from None
