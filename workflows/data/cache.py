"""Decoded datasets on disk: train.npy, test.npy and dataset.json in one folder, written once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows.data import databases, formats, images, preparation
from workflows.data.registry import Allocate, DataError, Dataset, Decoded, describe
from workflows.data.sources import obtain
from workflows.files import write_json

# Bytes that are counted, or copied into a file, at a time.
BLOCK = 2**22

Read = Callable[[Dataset, tuple[Path, ...], Allocate], Decoded]


def _small(read: Callable[[Dataset, tuple[Path, ...]], Decoded]) -> Read:
    """A reader of a format that is small enough to be decoded in memory, and then copied."""

    def reader(dataset: Dataset, paths: tuple[Path, ...], new: Allocate) -> Decoded:
        decoded = read(dataset, paths)
        arrays = []
        for part, found in (("train", decoded.train), ("test", decoded.test)):
            array = new(part, found.shape)
            # Not cast: what is no uint8 is refused as it was read.
            array = array if found.dtype == array.dtype else np.empty(found.shape, found.dtype)
            array[:] = found
            arrays.append(array)
        return Decoded(arrays[0], arrays[1], decoded.labels)

    return reader


READS: dict[str, Read] = {
    "mnist_csv": _small(formats.read_mnist_csv),
    "idx": _small(formats.read_idx),
    "cifar10": _small(formats.read_cifar10),
    "image_folder": images.read_image_folder,
    "lmdb": databases.read_lmdb,
    "photo_patches": _small(images.read_photo_patches),
}


@dataclass(frozen=True)
class TrainData:
    """train and validation: uint8 (n, c, h, w), memory-mapped. record: dataset.json's content."""

    train: np.ndarray
    validation: np.ndarray
    record: dict[str, Any]


def prepare(name: str, out: Path) -> None:
    """Find, check and decode `name` into `out`; DataError says which file is not as expected.

    The training images are in a fixed, seeded order, and the last ones are the validation split.
    They are decoded into the files themselves, so that memory holds a few images at a time however
    many there are. What was prepared before stays until all is decoded and found to be right.
    """
    dataset = describe(name)
    found = obtain(dataset, out.parent / "downloads" / name)
    # Listed before they are read: what changes meanwhile is noticed by the next run.
    files_read = preparation.listing(found.paths)
    kept = dataset.images["train"] - dataset.validation
    where = ", ".join(str(path) for path in found.paths)
    with _scratch(out) as scratch:
        decoded = READS[dataset.reader](dataset, found.paths, _files_in(scratch))
        arrays = {"train": decoded.train, "test": decoded.test}
        for part, array in arrays.items():
            _check(dataset, part, array, where)
        if dataset.classes:
            labels = _checked_labels(dataset, decoded, where)
            arrays["labels"] = np.lib.format.open_memmap(
                scratch / "labels.npy", "w+", labels.dtype, labels.shape
            )
            arrays["labels"][:] = labels
        spread = variance(arrays["train"][:kept])
        # dataset.json goes first and comes back last, so a folder that has it is whole.
        (out / "dataset.json").unlink(missing_ok=True)
        files = {part: _move(scratch, out, part, array) for part, array in arrays.items()}
        if not dataset.classes:
            # The file is there for every dataset, so that one rule prepares them all.
            np.save(out / "labels.npy", np.empty(0, np.int64))
    write_json(
        out / "dataset.json",
        {
            "name": name,
            "title": dataset.title,
            "stand_in_for": dataset.stand_in_for,
            "image_size": dataset.image_size,
            "channels": dataset.channels,
            "classes": dataset.classes,
            **files,
            "validation": {
                "indices": [kept, dataset.images["train"]],
                "images": dataset.validation,
            },
            "variance": spread,
            "source": found.detail,
            "settings": preparation.settings_of(dataset),
            "files": files_read,
            "licence": dataset.licence,
            "citation": dataset.citation,
        },
    )


def variance(pixels: np.ndarray) -> float:
    """Variance of uint8 `pixels` (any shape) scaled to [0, 1], exact but for the last rounding."""
    counts = np.zeros(256, np.int64)
    # Counting takes eight bytes a pixel, so a few megabytes of them at a time.
    rows = max(1, BLOCK // max(1, pixels[0].nbytes))
    for start in range(0, len(pixels), rows):
        counts += np.bincount(pixels[start : start + rows].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts @ values) / counts.sum()
    return float(counts @ (values - mean) ** 2 / counts.sum())


def load_train(folder: Path) -> TrainData:
    """Training and validation images of a prepared folder; opens no test image."""
    record = _record(folder)
    array = _open(folder, record, "train")
    start, stop = record["validation"]["indices"]
    return TrainData(array[:start], array[start:stop], record)


def load_labels(folder: Path) -> np.ndarray:
    """Labels (n,) of all training images, those of the validation split last.

    Raises DataError if the dataset has none, or they are not what it says of them.
    """
    record = _record(folder)
    if not record.get("classes"):
        raise DataError(f"{Path(folder) / 'dataset.json'}: {record['name']} has no classes")
    path = Path(folder) / record["labels"]["file"]
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: {error}; prepare it again") from None
    kept = record["validation"]["indices"][0]
    wrong = _wrong_labels(labels, record["train"]["images"], kept, record["classes"])
    if wrong:
        raise DataError(f"{path}: {wrong}; prepare it again")
    return labels


def load_test(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Test images, uint8 (n, c, h, w), memory-mapped, and dataset.json's content."""
    record = _record(folder)
    return _open(folder, record, "test"), record


def verify(folder: Path, parts: tuple[str, ...] = ("train", "test", "labels")) -> None:
    """Read arrays whole; DataError if one has not the sha256 that dataset.json gives."""
    record = _record(folder)
    for part in parts:
        if part not in record:
            continue
        if part != "labels":
            _open(folder, record, part)
        path = Path(folder) / record[part]["file"]
        if _sha256(path) != record[part]["sha256"]:
            raise DataError(f"{path}: sha256 is not {record[part]['sha256']}; prepare it again")


def _check(dataset: Dataset, part: str, array: np.ndarray, where: str) -> None:
    size = dataset.image_size
    expected = (dataset.images[part], dataset.channels, size, size)
    if array.shape != expected or array.dtype != np.uint8:
        raise DataError(f"{where}: {part} is {array.dtype} {array.shape}, must be uint8 {expected}")
    wanted = dataset.pixels.get(part)
    if wanted and hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() != wanted:
        message = f"{where}: {part}: decoded pixels have another sha256 than {wanted}"
        if dataset.pixels["strict"]:
            raise DataError(message)
        warnings.warn(f"{message}; JPEG decoders differ, so results may too", stacklevel=3)


def _checked_labels(dataset: Dataset, decoded: Decoded, where: str) -> np.ndarray:
    assert dataset.classes is not None
    images = dataset.images["train"]
    if decoded.labels is None:
        raise DataError(f"{where}: no label for each of the {images} images")
    kept = images - dataset.validation
    wrong = _wrong_labels(decoded.labels, images, kept, dataset.classes)
    if wrong:
        raise DataError(f"{where}: {dataset.name}: {wrong}")
    return decoded.labels.astype(np.int64)


def _wrong_labels(labels: np.ndarray, images: int, kept: int, classes: int) -> str | None:
    """What is not as it should be, if anything. kept: as many come before the validation split;
    whoever samples asks for every class, so each must be among what is trained on.
    """
    if labels.shape != (images,) or labels.dtype.kind not in "iu":
        return f"labels are {labels.dtype} {labels.shape}, must be integers ({images},)"
    least, most = labels.min(), labels.max()
    if least < 0 or most >= classes:
        return f"labels are {least} to {most}, must be 0 to {classes - 1}"
    absent = np.setdiff1d(np.arange(classes), labels[:kept])
    if len(absent):
        found = classes - len(absent)
        return (
            f"the {kept} images to train on are of {found} classes, must be of {classes}; "
            f"{absent[0]} is not among them"
        )
    return None


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder below `out`, empty, and gone afterwards; one that was left behind is removed."""
    folder = out / ".decoding"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _files_in(folder: Path) -> Allocate:
    """Arrays that are files in a folder. They raise DataError if the disk has no room for them."""

    def new(part: str, shape: tuple[int, ...]) -> np.ndarray:
        path = folder / f"{part}.npy"
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        size = path.stat().st_size
        try:
            # Taken now: a mapped file that runs out of disk later ends the process with SIGBUS.
            with path.open("r+b") as handle:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(handle.fileno(), 0, size)
        except OSError as error:
            raise DataError(
                f"{path}: no room for {size} bytes ({error.strerror}); make room and run again"
            ) from None
        return array

    return new


def _move(scratch: Path, out: Path, part: str, array: np.ndarray) -> dict[str, Any]:
    """Flush an array of the scratch folder to disk and give it its place."""
    assert isinstance(array, np.memmap)
    array.flush()
    path = out / f"{part}.npy"
    file = scratch / path.name
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
    file.replace(path)
    return {
        "file": path.name,
        "images": len(array),
        "bytes": path.stat().st_size,
        "sha256": _sha256(path),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _record(folder: Path) -> dict[str, Any]:
    path = Path(folder) / "dataset.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}; run workflows.steps.prepare first") from None


def _open(folder: Path, record: dict[str, Any], part: str) -> np.ndarray:
    path = Path(folder) / part
    try:
        about, size = record[part], record["image_size"]
        path = Path(folder) / about["file"]
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        expected = (about["images"], record["channels"], size, size)
        whole = path.stat().st_size == about["bytes"]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path}: {error}; prepare it again") from None
    if array.shape != expected or array.dtype != np.uint8 or not whole:
        raise DataError(f"{path}: {array.dtype} {array.shape}, must be uint8 {expected} and whole")
    return array
