"""Reader of image databases: LMDB, as LSUN is published."""

from __future__ import annotations

import faulthandler
import mmap
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import numpy as np

from workflows.data.archives import LARGEST
from workflows.data.formats import permutation
from workflows.data.images import decode
from workflows.data.registry import Allocate, DataError, Dataset, Decoded, in_memory

SMALLEST = 16  # bytes of an entry: its place in a page, its header, a key, a value


def read_lmdb(dataset: Dataset, paths: tuple[Path, ...], new: Allocate = in_memory) -> Decoded:
    """Two databases of encoded images by key, those to train on and those to test on.

    Training images are taken in the order of their keys, then put into the fixed order; where the
    dataset asks for fewer than there are, it is the first of that order. Raises DataError for a
    database that is cut short, damaged, empty, too small or holds what is no image. new: gives the
    arrays, shared with forked processes as mapped files are; beside them there is one image in
    memory at a time, and two numbers an entry.
    """
    train, test = (
        _apart(dataset, path, part, new)
        for path, part in zip(paths, ("train", "test"), strict=True)
    )
    return Decoded(train, test)


def _apart(dataset: Dataset, path: Path, part: str, new: Allocate) -> np.ndarray:
    """What `_read` fills, in a process of its own: LMDB trusts the offsets within its file, so
    damaged ones end the process that reads them.
    """
    size = dataset.image_size
    shape = (dataset.images[part], dataset.channels, size, size)
    _check_size(path, shape[0])
    images = _shared(path, shape) if new is in_memory else new(part, shape)
    forked = multiprocessing.get_context("fork")
    here, there = forked.Pipe(duplex=False)
    reader = forked.Process(target=_tell, args=(there, dataset, path, part, images))
    reader.start()
    there.close()
    try:
        said = here.recv()
    except EOFError:
        said = f"{path}: damaged: reading it ended the process"
    reader.join()
    if said:
        raise DataError(said)
    return images


def _shared(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Shared with the other process, and given back when the array is."""
    try:
        memory = mmap.mmap(-1, int(np.prod(shape)))
    except (OSError, OverflowError) as error:
        raise DataError(f"{path}: no memory for images of shape {shape}: {error}") from None
    return np.frombuffer(memory, np.uint8).reshape(shape)


def _tell(there: Connection, dataset: Dataset, path: Path, part: str, images: np.ndarray) -> None:
    """Send what is wrong, or nothing."""
    # How this process ends is reported by the other, in one line.
    faulthandler.disable()
    try:
        _read(dataset, path, part, images)
    except DataError as error:
        there.send(str(error))
    # What is damaged may raise nearly anything.
    except Exception as error:
        there.send(f"{path}: not a readable LMDB ({error or type(error).__name__})")
    else:
        there.send("")


def _read(dataset: Dataset, path: Path, part: str, images: np.ndarray) -> None:
    """Fill `images`, uint8 (n, c, h, w)."""
    wanted = len(images)
    with lmdb.open(
        str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
    ) as database:
        _check_whole(database, path)
        count = database.stat()["entries"]
        if count < wanted:
            raise DataError(f"{path}: {count} images, must be at least {wanted}")
        most = _file(path).stat().st_size // SMALLEST
        if count > most:
            raise DataError(f"{path}: its header counts {count} images; it has room for {most}")
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


def _check_size(path: Path, wanted: int) -> None:
    """Before memory for so many images is taken."""
    try:
        room = _file(path).stat().st_size // SMALLEST
    except OSError as error:
        raise DataError(f"{path}: not a readable LMDB ({error.strerror})") from None
    if room < wanted:
        raise DataError(f"{path}: has room for {room} images, must have at least {wanted}")


def _check_whole(database: lmdb.Environment, path: Path) -> None:
    """Reading past the end of a file that was cut short would end this process with SIGBUS."""
    pages = database.info()["last_pgno"] + 1
    needed = pages * database.stat()["psize"]
    file = _file(path)
    if file.stat().st_size < needed:
        raise DataError(f"{file}: has {file.stat().st_size} bytes, its header asks for {needed}")


def _file(path: Path) -> Path:
    return path / "data.mdb" if path.is_dir() else path
