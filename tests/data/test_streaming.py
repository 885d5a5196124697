"""Datasets larger than memory: what is decoded by parts, and what is held."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.data.limited import linux, python
from workflows.config.datasets import read_dataset
from workflows.data import cache, memory
from workflows.errors import ConfigError, DataError

PREPARE = """
import sys
import lmdb
import numpy as np
from PIL import Image
from tests.data.example_files import changed, encoded
from workflows.data import cache, databases, images
folder, out, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
train, test = 300, 12
files = [str(folder / "a"), str(folder / "b")][:1 if kind == "image_folder" else 2]
dataset = changed(
    "ffhq_subset_64", image_size=256, options={}, reader=kind, validation=100,
    images={"train": train, "test": test},
    sources=[{"kind": "system", "files": files, "install": ""}])
grey = [encoded(Image.new("RGB", (256, 256), (k,) * 3), compress_level=1) for k in range(100)]
if kind == "image_folder":
    (folder / "a").mkdir()
    for k in range(train + test): (folder / "a" / f"{k:06}.png").write_bytes(grey[k % 100])
else:
    for side, count in (("a", train), ("b", test)):
        base = lmdb.open(str(folder / side), map_size=2**26)
        with base, base.begin(write=True) as entries:
            for k in range(count): entries.put(f"{k:06}".encode(), grey[k % 100])
limit(16)
cache.prepare(dataset, out)
"""


@linux
@pytest.mark.parametrize("kind", ["image_folder", "lmdb"])
def test_a_dataset_is_decoded_in_less_memory_than_it_takes(kind: str, tmp_path: Path) -> None:
    """59 MB of pixels with 16 MiB to spare, which would not hold them."""
    (tmp_path / "in").mkdir()
    done = python(PREPARE, tmp_path / "in", tmp_path / "out", kind)
    assert done.returncode == 0, done.stderr
    loaded = cache.load_train(tmp_path / "out")
    assert loaded.train.nbytes + loaded.validation.nbytes > 3.5 * 16 * 2**20
    assert loaded.record.variance == pytest.approx(np.var(loaded.train / 255.0), rel=1e-9)
    assert sorted(loaded.train[:, 0, 0, 0].tolist() + loaded.validation[:, 0, 0, 0].tolist()) == (
        sorted(k % 100 for k in range(300))
    )
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] == "."] == []
    cache.verify(tmp_path / "out")


def test_no_room_on_disk_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        DataError, match=r"train\.npy: no room for \d+ bytes \(No space left.*run again"
    ):
        cache.prepare(read_dataset("mnist_5k"), tmp_path / "mnist_5k")
    assert list((tmp_path / "mnist_5k").iterdir()) == []


def test_what_is_held_follows_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.arange(1000, dtype=np.uint8))
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    monkeypatch.delenv(memory.VARIABLE, raising=False)
    monkeypatch.setattr(memory, "available", lambda: 4000)
    assert not isinstance(memory.hold(array), np.memmap)
    monkeypatch.setattr(memory, "available", lambda: 3996)
    assert isinstance(memory.hold(array), np.memmap)
    monkeypatch.setenv(memory.VARIABLE, "1")
    assert not isinstance(memory.hold(array), np.memmap)
    monkeypatch.setenv(memory.VARIABLE, "0")
    assert isinstance(memory.hold(array), np.memmap)
    for bad in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv(memory.VARIABLE, bad)
        with pytest.raises(ConfigError, match=rf"CODEBOOK_IN_MEMORY={bad}: must be a number"):
            memory.hold(array)


def test_a_control_group_limits_what_is_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "GROUP", (limit, used))
    machine = memory.available()
    assert machine > 2**28
    used.write_text("300\n")
    limit.write_text("1000\n")
    assert memory.available() == 700
    limit.write_text("max\n")
    assert memory.available() > 2**28
    limit.write_text("100\n")
    assert memory.available() == 0


def test_rows_are_gathered_in_any_order() -> None:
    array = np.arange(20, dtype=np.uint8).reshape(10, 2)
    rows = np.array([7, 0, 7, 3])
    assert np.array_equal(memory.gather(array, rows), array[rows])
