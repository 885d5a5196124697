"""Decoded datasets on disk: train.npy, test.npy, labels.npy and dataset.json in one folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows.config.datasets import Dataset
from workflows.config.reading import read_json
from workflows.data import formats, preparation
from workflows.data.formats import Allocate, Decoded
from workflows.data.records import ArrayRecord, DatasetRecord, MissingRecord, ValidationRecord
from workflows.data.sources import obtain
from workflows.errors import ConfigError, DataError
from workflows.files import digest, write_json

PARTS = ("train", "test", "labels")
# Arrays of at most this many bytes are hashed before every use, which takes a second or two. Larger
# arrays were checked when the run began.
SMALL = 2**31
# A reader either fills arrays that the third argument gives, or returns arrays of its own.
Reader = Callable[[Dataset, tuple[Path, ...], Allocate], Decoded]


def reader_of(name: str) -> Reader:
    """The reader of that name, one of READERS."""
    # A training imports this module and should not wait for the libraries that decode images.
    from workflows.data import databases, images

    return {
        "mnist_csv": formats.read_mnist_csv,
        "idx": formats.read_idx,
        "cifar10": formats.read_cifar10,
        "image_folder": images.read_image_folder,
        "lmdb": databases.read_lmdb,
        "photo_patches": images.read_photo_patches,
    }[name]


@dataclass(frozen=True)
class TrainData:
    """train, validation: uint8 (n, c, h, w), memory-mapped. record: dataset.json."""

    train: np.ndarray
    validation: np.ndarray
    record: DatasetRecord


def prepare(dataset: Dataset, out: Path) -> None:
    """Find, check and decode a dataset into the folder `out`.

    The training images are in a fixed, seeded order, and the last ones are the validation split.
    Large formats are decoded straight into the files. An older preparation stays until the new
    arrays are decoded and checked. Raises Unavailable if no source has the dataset, and DataError,
    naming the file, for a file that is not as expected.
    """
    found = obtain(dataset, out.parent / "downloads" / dataset.name)
    # Listed before the files are read, so that the next run notices a change in the meantime.
    files_read = preparation.listing(found.paths)
    where = ", ".join(str(path) for path in found.paths)
    scratch = out / ".decoding"
    shutil.rmtree(scratch, ignore_errors=True)  # A killed run may have left the folder.
    scratch.mkdir(parents=True)
    try:
        decoded = reader_of(dataset.reader)(
            dataset, found.paths, lambda part, shape: new_file(scratch / f"{part}.npy", shape)
        )
        _check(dataset, decoded, where)
        spread = variance(decoded.train[: dataset.trained])
        labels = np.empty(0, np.int64)
        if dataset.classes and decoded.labels is not None:
            labels = decoded.labels.astype(np.int64)
        arrays = {"train": decoded.train, "test": decoded.test, "labels": labels}
        files = {part: _write(scratch / f"{part}.npy", array) for part, array in arrays.items()}
        # dataset.json goes first and comes back last, so a folder that has it is whole.
        (out / "dataset.json").unlink(missing_ok=True)
        for part in PARTS:
            (scratch / f"{part}.npy").replace(out / f"{part}.npy")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    record = DatasetRecord(
        name=dataset.name,
        image_size=dataset.image_size,
        channels=dataset.channels,
        classes=dataset.classes,
        train=files["train"],
        test=files["test"],
        labels=files["labels"] if dataset.classes else None,
        validation=ValidationRecord(indices=[dataset.trained, dataset.images.train]),
        variance=spread,
        source=found.detail,
        settings=preparation.settings_of(dataset),
        files=files_read,
    )
    write_json(out / "dataset.json", record.model_dump(mode="json"))


def note_missing(name: str, out: Path, reason: str) -> None:
    """Write down in `out` that no source has a dataset, so that its cells are left out.

    The arrays are there and empty, because one rule of the workflow names all of these files.
    """
    out.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        np.save(out / f"{part}.npy", np.empty(0, np.uint8))
    write_json(out / "dataset.json", MissingRecord(name=name, missing=reason).model_dump())


def variance(pixels: np.ndarray) -> float:
    """Variance of uint8 pixels (any shape) scaled to [0, 1]; only the last step rounds."""
    counts = np.zeros(256, np.int64)
    # Counting takes eight bytes a pixel.
    for image in pixels:
        counts += np.bincount(image.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts @ values) / counts.sum()
    return float(counts @ (values - mean) ** 2 / counts.sum())


def read_record(folder: Path) -> DatasetRecord:
    """dataset.json of a prepared folder. Raises DataError, also if no source had the dataset."""
    path = folder / "dataset.json"
    reason = preparation.missing(folder)
    if reason:
        raise DataError(f"{path}: {reason}")
    try:
        return read_json(path, DatasetRecord)
    except ConfigError as error:
        raise DataError(f"{error}; run workflows.steps.prepare first") from None


def load_train(folder: Path) -> TrainData:
    """Training and validation images of a prepared folder. Test images are not opened."""
    record = read_record(folder)
    array = _open(folder, record, record.train)
    start, stop = record.validation.indices
    return TrainData(array[:start], array[start:stop], record)


def load_test(folder: Path) -> tuple[np.ndarray, DatasetRecord]:
    """Test images, uint8 (n, c, h, w), memory-mapped, and dataset.json."""
    record = read_record(folder)
    return _open(folder, record, record.test), record


def load_labels(folder: Path) -> np.ndarray:
    """Labels (n,) of all training images, those of the validation split last.

    Raises DataError if the dataset has no labels, or if they are not those that were prepared.
    """
    record = read_record(folder)
    if record.labels is None:
        raise DataError(f"{folder / 'dataset.json'}: {record.name} has no classes")
    verify(folder, ("labels",))
    return np.load(folder / record.labels.file, allow_pickle=False)


def verify(folder: Path, parts: tuple[str, ...] = PARTS, largest: float = float("inf")) -> None:
    """Compare arrays of up to `largest` bytes with their digests. Raises DataError, OSError."""
    for part, array in read_record(folder).arrays.items():
        file = folder / array.file
        if part not in parts or file.stat().st_size > largest:
            continue
        if digest(file) != array.sha256:
            raise DataError(f"{file}: sha256 is not {array.sha256}; prepare it again")


def _check(dataset: Dataset, decoded: Decoded, where: str) -> None:
    """Raise DataError for arrays that are not as the dataset says, or that nothing can learn."""
    size, trained = dataset.image_size, decoded.train[: dataset.trained]
    for part, array in (("train", decoded.train), ("test", decoded.test)):
        wanted = (getattr(dataset.images, part), dataset.channels, size, size)
        if array.shape != wanted or array.dtype != np.uint8:
            said = f"{array.dtype} {array.shape}, must be uint8 {wanted}"
            raise DataError(f"{where}: {part} is {said}")
        if dataset.pixels is None:
            continue
        sha256 = getattr(dataset.pixels, part)
        if hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() != sha256:
            message = f"{where}: {part}: decoded pixels have another sha256 than {sha256}"
            if dataset.pixels.strict:
                raise DataError(message)
            warnings.warn(f"{message}; JPEG decoders differ, so results may too", stacklevel=3)
    if all((image == trained[0]).all() for image in trained):
        raise DataError(
            f"{where}: {dataset.name}: the {len(trained)} images to train on are all alike, so "
            "there is nothing to learn; look at the files"
        )
    if dataset.classes:
        _check_labels(decoded.labels, dataset.classes, dataset, where)


def _check_labels(labels: np.ndarray | None, classes: int, dataset: Dataset, where: str) -> None:
    """Raise DataError unless each image has a label, and each label an image to train on: sampling
    asks for every class.
    """
    if labels is None or labels.shape != (dataset.images.train,):
        raise DataError(f"{where}: no label for each of the {dataset.images.train} images")
    least, most = labels.min(), labels.max()
    if least < 0 or most >= classes:
        raise DataError(f"{where}: labels are {least} to {most}, must be 0 to {classes - 1}")
    absent = np.setdiff1d(np.arange(classes), labels[: dataset.trained])
    if len(absent):
        said = f"none of the {dataset.trained} images to train on has label {absent[0]}"
        raise DataError(f"{where}: {dataset.name}: {said}")


def new_file(path: Path, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.memmap[Any, Any]:
    """A new array that is mapped to a file. Raises DataError if the disk has no room for it."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    size = path.stat().st_size
    try:
        # A mapped file that runs out of disk later would end the process with SIGBUS.
        with path.open("r+b") as handle:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), 0, size)
    except OSError as error:
        raise DataError(
            f"{path}: no room for {size} bytes ({error.strerror}); make room and run again"
        ) from None
    return array


def _write(file: Path, array: np.ndarray) -> ArrayRecord:
    """Write an array to `file`, unless it is mapped to the file already, and return its record."""
    if not isinstance(array, np.memmap):
        decoded = array
        array = new_file(file, decoded.shape, decoded.dtype)
        array[...] = decoded
    array.flush()
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
    return ArrayRecord(file=file.name, images=len(array), sha256=digest(file))


def _open(folder: Path, record: DatasetRecord, about: ArrayRecord) -> np.ndarray:
    """Map an array of images. Raises DataError unless the file is whole and as its record says."""
    path, size = folder / about.file, record.image_size
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: {error}; prepare it again") from None
    expected = (about.images, record.channels, size, size)
    if array.shape != expected or array.dtype != np.uint8:
        raise DataError(f"{path}: {array.dtype} {array.shape}, must be uint8 {expected}")
    return array
