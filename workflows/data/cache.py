"""Decoded datasets on disk: train.npy, test.npy and dataset.json in one folder, written once."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows.data import databases, formats, images
from workflows.data.registry import DataError, Dataset, Decoded, describe
from workflows.data.sources import obtain
from workflows.files import write_atomically, write_json

READERS = {
    "mnist_csv": formats.read_mnist_csv,
    "idx": formats.read_idx,
    "cifar10": formats.read_cifar10,
    "image_folder": images.read_image_folder,
    "lmdb": databases.read_lmdb,
    "photo_patches": images.read_photo_patches,
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
    """
    dataset = describe(name)
    found = obtain(dataset, out.parent / "downloads" / name)
    decoded = READERS[dataset.reader](dataset, found.paths)
    arrays = {"train": decoded.train, "test": decoded.test}
    where = ", ".join(str(path) for path in found.paths)
    if dataset.classes:
        arrays["labels"] = _checked_labels(dataset, decoded, where)
    for part in ("train", "test"):
        _check(dataset, part, arrays[part], where)
    kept = dataset.images["train"] - dataset.validation
    # dataset.json goes first and comes back last, so a folder that has it is whole.
    (out / "dataset.json").unlink(missing_ok=True)
    files = {part: _write(out / f"{part}.npy", array) for part, array in arrays.items()}
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
            "variance": variance(arrays["train"][:kept]),
            "source": found.detail,
            "licence": dataset.licence,
            "citation": dataset.citation,
        },
    )


def variance(pixels: np.ndarray) -> float:
    """Variance of uint8 `pixels` (any shape) scaled to [0, 1], exact but for the last rounding."""
    counts = np.zeros(256, np.int64)
    for image in np.array_split(pixels, max(1, len(pixels) // 4096)):
        counts += np.bincount(image.ravel(), minlength=256)
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

    Raises DataError if the dataset has none.
    """
    record = _record(folder)
    if not record.get("classes"):
        raise DataError(f"{Path(folder) / 'dataset.json'}: {record['name']} has no classes")
    path = Path(folder) / record["labels"]["file"]
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: {error}; prepare it again") from None
    if labels.shape != (record["train"]["images"],) or labels.max() >= record["classes"]:
        raise DataError(f"{path}: not one label below {record['classes']} for each training image")
    return labels


def load_test(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Test images, uint8 (n, c, h, w), memory-mapped, and dataset.json's content."""
    record = _record(folder)
    return _open(folder, record, "test"), record


def verify(folder: Path) -> None:
    """Read both arrays whole; DataError if one has not the sha256 that dataset.json gives."""
    record = _record(folder)
    for part in ("train", "test", "labels"):
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
    labels = decoded.labels
    if labels is None or len(labels) != dataset.images["train"] or labels.min() < 0:
        raise DataError(f"{where}: no label for each of the {dataset.images['train']} images")
    if labels.max() >= dataset.classes:
        raise DataError(f"{where}: labels reach {labels.max()}, must be below {dataset.classes}")
    return labels.astype(np.int64)


def _write(path: Path, array: np.ndarray) -> dict[str, Any]:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.lib.format.write_array(handle, np.ascontiguousarray(array), allow_pickle=False)

    write_atomically(path, write)
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
