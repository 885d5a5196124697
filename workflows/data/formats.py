"""The result of every reader, and the readers of fixed formats, which decode in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows.config.datasets import Dataset
from workflows.data import archives
from workflows.data.archives import any_error_as_data_error
from workflows.errors import DataError

# Older and newer versions of numpy keep the function that rebuilds arrays in different modules.
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
SEED = 20230727  # The seed of every permutation; any fixed number would do.
# Returns the uint8 array that a reader fills, given a part ("train" or "test") and a shape.
Allocate = Callable[[str, tuple[int, ...]], np.ndarray]


def in_memory(part: str, shape: tuple[int, ...]) -> np.ndarray:
    """Allocate an array without a file."""
    return np.empty(shape, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """train, test: uint8 (n, c, h, w). labels: integers (n,) in the order of `train`, or None."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None


def permutation(count: int) -> np.ndarray:
    """Return the fixed order of `count` images; a training set ends with its validation images."""
    return np.random.Generator(np.random.PCG64(SEED)).permutation(count)


def read_mnist_csv(dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory) -> Decoded:
    """Read 5,000 rows of 784 pixels and a label; each class has a tenth of the test images."""
    (path,) = paths
    text = io.BytesIO(_checked_content(path, dataset))
    with any_error_as_data_error(f"{path}: not a table of 0..255"):
        rows = np.loadtxt(text, np.uint8, delimiter=",", ndmin=2)
    if rows.shape[1] != 785:
        raise DataError(f"{path}: must have 785 columns, has {rows.shape[1]}")
    rows = rows[permutation(len(rows))]
    images, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1]
    test_per_class = dataset.images.test // 10
    in_test = np.zeros(len(rows), bool)
    for label in range(10):
        in_test[np.flatnonzero(labels == label)[:test_per_class]] = True
    return Decoded(images[~in_test], images[in_test], labels[~in_test])


def read_idx(dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory) -> Decoded:
    """Read MNIST's format: a file of training images and a file of test images, gzipped or not."""
    train, test = (_idx_images(path, dataset) for path in paths)
    return Decoded(train[permutation(len(train))], test)


def _idx_images(path: Path, dataset: Dataset) -> np.ndarray:
    content = _checked_content(path, dataset)
    if len(content) < 16 or content[:4] != b"\x00\x00\x08\x03":
        raise DataError(f"{path}: not an idx file of images (magic number 00000803)")
    count, rows, columns = (int(n) for n in np.frombuffer(content, ">u4", 3, offset=4))
    size = 16 + count * rows * columns
    if len(content) != size:
        raise DataError(f"{path}: has {len(content)} bytes unpacked, its header asks for {size}")
    return np.frombuffer(content, np.uint8, offset=16).reshape(count, 1, rows, columns)


def _checked_content(path: Path, dataset: Dataset) -> bytes:
    """Return the unpacked bytes of a file, gzipped or not. Raises DataError for another MD5."""
    opener = gzip.open if path.suffix == ".gz" else open
    with any_error_as_data_error(f"{path}: unreadable or cut short"), opener(path, "rb") as handle:
        content = handle.read()
    _check_md5(path, path.name.removesuffix(".gz"), content, dataset)
    return content


def _check_md5(path: Path, name: str, content: bytes, dataset: Dataset) -> None:
    expected = dataset.checksums.get(name)
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected and actual != expected:
        raise DataError(f"{path}: {name}: md5 is {actual}, must be {expected}")


class ArraysOnly(pickle.Unpickler):
    """Unpickle plain values and numpy arrays, and refuse every other type or function."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the function or type of an array. Raises UnpicklingError for any other name."""
        if name == "_reconstruct" and module in _MULTIARRAY:
            return np.empty(0).__reduce__()[0]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"'{module}.{name}' is not allowed")


def unpickle_batch(raw: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 (n, 3, 32, 32), and labels (n,) of one CIFAR-10 batch.

    Raises DataError that names `where` for anything else.
    """
    with any_error_as_data_error(f"{where}: not a CIFAR-10 batch"):
        content = ArraysOnly(io.BytesIO(raw), encoding="latin1").load()
        return content["data"].reshape(-1, 3, 32, 32), np.asarray(content["labels"], np.int64)


def read_cifar10(dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory) -> Decoded:
    """Read the official archive, a repacked archive or the unpacked folder."""
    (path,) = paths
    batches = {}
    pattern = r"(cifar-10-batches-py/)?(data_batch_[1-5]|test_batch)"
    for name, content in archives.members(path, pattern):
        batch = name.rpartition("/")[2]
        _check_md5(path, batch, content, dataset)
        batches[batch] = unpickle_batch(content, f"{path}: {name}")
    training = [f"data_batch_{k}" for k in range(1, 6)]
    absent = [batch for batch in [*training, "test_batch"] if batch not in batches]
    if absent:
        raise DataError(f"{path}: lacks {', '.join(absent)}")
    train, labels = map(np.concatenate, zip(*(batches[k] for k in training), strict=True))
    order = permutation(len(train))
    return Decoded(train[order], batches["test_batch"][0], labels[order])
