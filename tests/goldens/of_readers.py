"""Goldens of readers: small files of each format, made of the same stripes."""

from __future__ import annotations

import gzip
import pickle
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import skimage
from PIL import Image

from tests.data.example_files import changed, encoded
from tests.goldens.golden import Golden, Numbers, Wrong
from tests.goldens.made import pictures

# Imported here, so that no mutation of another module is bound to their names.
from workflows.data import databases, formats, images
from workflows.data.cache import reader_of, variance
from workflows.data.formats import in_memory

TRAIN, TEST = 20, 10
Paths = tuple[Path, ...]


def mnist_csv(folder: Path) -> Paths:
    rows = [[*one.ravel(), label % 10] for label, one in enumerate(pictures(TRAIN + TEST, 1, 28))]
    np.savetxt(folder / "digits.csv", np.array(rows), fmt="%d", delimiter=",")
    return (folder / "digits.csv",)


def idx(folder: Path) -> Paths:
    paths = (folder / "train.gz", folder / "test.gz")
    for path, count in zip(paths, (TRAIN, TEST), strict=True):
        header = np.array([0x803, count, 28, 28], ">u4").tobytes()
        path.write_bytes(gzip.compress(header + pictures(count, 1, 28).tobytes()))
    return paths


def cifar10(folder: Path) -> Paths:
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    for number, name in enumerate(names):
        count = TEST if name == "test_batch" else TRAIN // 5
        data = pictures(count + number, 3, 32)[number:].reshape(count, -1)
        batch = {"data": data, "labels": [(k + number) % 10 for k in range(count)]}
        # As numpy named its module when the dataset was made.
        (folder / name).write_bytes(pickle.dumps(batch, 3).replace(b"._core.", b".core."))
    return (folder,)


def pngs(count: int, side: int) -> list[bytes]:
    coloured = pictures(count, 3, side).transpose(0, 2, 3, 1)
    return [encoded(Image.fromarray(picture)) for picture in coloured]


def image_folder(folder: Path) -> Paths:
    for number, png in enumerate(pngs(TRAIN + TEST, 40)):
        kind = folder / "abc"[number % 3]
        kind.mkdir(exist_ok=True)
        (kind / f"{number:02}.png").write_bytes(png)
    return (folder,)


def lmdbs(folder: Path) -> Paths:
    paths = (folder / "train", folder / "test")
    for path, count in zip(paths, (TRAIN + 5, TEST), strict=True):
        with (
            lmdb.open(str(path), map_size=2**24) as database,
            database.begin(write=True) as transaction,
        ):
            for number, png in enumerate(pngs(count, 32)):
                transaction.put(f"{number:03}".encode(), png)
    return paths


def photographs(folder: Path) -> Paths:
    """Only those that need no decoder of JPEG, of which there are several."""
    place = Path(skimage.__file__).parent / "data"
    return tuple(place / f"{name}.png" for name in ("astronaut", "chelsea", "coffee"))


def decoded(reader: str, write: Callable[[Path], Paths], **changes: Any) -> Numbers:
    """Variance, means, some pixels in the order of the images, and labels."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder))
        files = [{"kind": "system", "files": [str(path) for path in paths], "install": ""}]
        plain: dict[str, Any] = {
            "reader": reader,
            "images": {"train": TRAIN, "test": TEST},
            "validation": 1,
            "checksums": {},
            "sources": files,
        }
        prepared = reader_of(reader)(changed("mnist_5k", **{**plain, **changes}), paths, in_memory)
    numbers: dict[str, Any] = {"variance": variance(prepared.train)}
    for part, array in (("train", prepared.train), ("test", prepared.test)):
        numbers |= {f"{part} mean": array.mean(), f"{part} pixels": array[:, -1, 3, 5].tolist()}
    if prepared.labels is not None:
        numbers["labels"] = prepared.labels.tolist()
    return numbers


def golden(reader: str, write: Callable[[Path], Paths], wrong: Wrong, **changes: Any) -> Golden:
    return Golden("reader", reader, partial(decoded, reader, write, **changes), wrong)


def in_their_order(module: str) -> Wrong:
    return Wrong("images stay in order", f"{module}.permutation", lambda old: np.arange)


IMAGES, FORMATS = images.__name__, formats.__name__
BICUBIC = Wrong(
    "Lanczos is bicubic", f"{IMAGES}.RESAMPLING", lambda old: {**old, "lanczos": old["bicubic"]}
)
FEWER = Wrong("a patch has fewer scales", f"{IMAGES}.SCALES", lambda old: old[:-1])
FOLDERS = {"resize": True, "shuffle": True, "labels": "folder"}
COLOUR = {"channels": 3, "image_size": 32}
GOLDENS = [
    golden("mnist_csv", mnist_csv, in_their_order(FORMATS)),
    golden("idx", idx, in_their_order(FORMATS)),
    golden("cifar10", cifar10, in_their_order(FORMATS), **COLOUR),
    golden("image_folder", image_folder, BICUBIC, **COLOUR, options=FOLDERS, classes=3),
    golden("lmdb", lmdbs, in_their_order(databases.__name__), **COLOUR),
    golden("photo_patches", photographs, FEWER, **COLOUR),
]
