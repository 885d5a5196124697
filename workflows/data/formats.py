"""What every reader gives, and the readers of fixed formats, which are decoded in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows.config.datasets import Dataset
from workflows.data import archives
from workflows.errors import DataError

# Where versions of numpy keep the function that arrays are rebuilt by.
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
SEED = 20230727  # of every permutation; any fixed number would do
# Where a reader puts what it decodes: from a part ("train" or "test") and a shape to a uint8 array.
Allocate = Callable[[str, tuple[int, ...]], np.ndarray]


def in_memory(part: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array without a file."""
    return np.empty(shape, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """train, test: uint8 (n, c, h, w). labels: integers (n,) in the order of `train`, or None."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None


def permutation(count: int) -> np.ndarray:
    """The fixed order of `count` images; the last ones of a training set are its validation."""
    return np.random.Generator(np.random.PCG64(SEED)).permutation(count)


def read_mnist_csv(dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory) -> Decoded:
    """5,000 rows of 784 pixels and a label; each class has a tenth of the test images."""
    (path,) = paths
    try:
        rows = np.loadtxt(io.BytesIO(_unzip(path, dataset)), np.uint8, delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: not a table of 0..255: {error}") from None
    if rows.shape[1] != 785:
        raise DataError(f"{path}: must have 785 columns, has {rows.shape[1]}")
    rows = rows[permutation(len(rows))]
    images, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1]
    per_class = dataset.images.test // 10
    test = np.zeros(len(rows), bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[:per_class]] = True
    return Decoded(images[~test], images[test], labels[~test])


def read_idx(dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory) -> Decoded:
    """MNIST's format: two files of images, train then test, gzipped or not."""
    train, test = (_idx(path, dataset) for path in paths)
    return Decoded(train[permutation(len(train))], test)


def _idx(path: Path, dataset: Dataset) -> np.ndarray:
    raw = _unzip(path, dataset)
    if len(raw) < 16 or raw[:4] != b"\x00\x00\x08\x03":
        raise DataError(f"{path}: not an idx file of images (magic number 00000803)")
    count, rows, columns = (int(n) for n in np.frombuffer(raw, ">u4", 3, offset=4))
    expected = 16 + count * rows * columns
    if len(raw) != expected:
        raise DataError(f"{path}: has {len(raw)} bytes unpacked, its header asks for {expected}")
    return np.frombuffer(raw, np.uint8, offset=16).reshape(count, 1, rows, columns)


def _unzip(path: Path, dataset: Dataset) -> bytes:
    """The content of a file, gzipped or not, whose MD5 is as the dataset says."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
            raw = handle.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: unreadable or cut short: {error}") from None
    _check_md5(path, path.name.removesuffix(".gz"), raw, dataset)
    return raw


def _check_md5(path: Path, key: str, raw: bytes, dataset: Dataset) -> None:
    expected = dataset.checksums.get(key)
    actual = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if expected and actual != expected:
        raise DataError(f"{path}: {key}: md5 is {actual}, must be {expected}")


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of plain values and numpy arrays, and refuses every other name in them."""

    def find_class(self, module: str, name: str) -> Any:
        """The one function and two types of an array; UnpicklingError for anything else."""
        if name == "_reconstruct" and module in _MULTIARRAY:
            return np.empty(0).__reduce__()[0]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"'{module}.{name}' is not allowed")


def unpickle_batch(raw: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (n, 3, 32, 32), and labels (n,) of one CIFAR-10 batch.

    Raises DataError naming `where` if it is not one.
    """
    try:
        content = ArraysOnly(io.BytesIO(raw), encoding="latin1").load()
        return content["data"].reshape(-1, 3, 32, 32), np.asarray(content["labels"], np.int64)
    except Exception as error:
        # A broken pickle may raise nearly anything.
        raise DataError(f"{where}: not a CIFAR-10 batch: {error}") from None


def read_cifar10(dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory) -> Decoded:
    """The official archive, its repacked tar.xz or its unpacked folder."""
    (path,) = paths
    wanted = r"(cifar-10-batches-py/)?(data_batch_[1-5]|test_batch)"
    batches = {}
    for name, raw in archives.members(path, wanted):
        key = name.rpartition("/")[2]
        _check_md5(path, key, raw, dataset)
        batches[key] = unpickle_batch(raw, f"{path}: {name}")
    keys = [f"data_batch_{k}" for k in range(1, 6)]
    absent = [key for key in [*keys, "test_batch"] if key not in batches]
    if absent:
        raise DataError(f"{path}: lacks {', '.join(absent)}")
    train, labels = (np.concatenate(parts) for parts in zip(*map(batches.get, keys), strict=True))
    order = permutation(len(train))
    return Decoded(train[order], batches["test_batch"][0], labels[order])
