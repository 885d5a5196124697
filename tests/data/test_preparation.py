"""What prepares a dataset again, and what does not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.example_files import png, six, small
from workflows.config.datasets import Dataset
from workflows.data import cache, preparation
from workflows.errors import ConfigError, DataError


def own(*files: str) -> Dataset:
    return small(sources=[{"kind": "local", "files": [file]} for file in files or ["mine"]])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data that holds six images, which are prepared beside it."""
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path / "data"))
    six(tmp_path / "data/mine")
    cache.prepare(own(), tmp_path / "out")
    assert not preparation.changed(own(), tmp_path / "out")
    return tmp_path / "data"


def replace(file: Path, content: bytes) -> None:
    """Write other content, and keep the file's times, as `cp -p` does."""
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(content)
    os.utime(file, ns=times)


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "3.png").write_bytes(png(value=9)),
        lambda folder: replace(folder / "3.png", png(value=9) + b" "),
        lambda folder: (folder / "3.png").unlink(),
        lambda folder: (folder / "6.png").write_bytes(png()),
        lambda folder: (folder / "3.png").rename(folder / "7.png"),
        lambda folder: os.utime(folder / "3.png"),
    ],
    ids=["overwritten", "another size", "deleted", "added", "renamed", "touched"],
)
def test_images_that_changed_are_prepared_again(root: Path, edit: Callable[[Path], object]) -> None:
    edit(root / "mine")
    assert preparation.changed(own(), root.with_name("out"))


def test_another_image_of_the_same_size_and_time_is_not_noticed(root: Path) -> None:
    """Comparing contents would read hundreds of GB before every run."""
    assert len(png(value=9)) == len(png(value=3))
    replace(root / "mine/3.png", png(value=9))
    assert not preparation.changed(own(), root.with_name("out"))


def test_a_preparation_follows_the_images_or_names_what_is_wrong(root: Path) -> None:
    out = root.with_name("out")
    before = cache.load_train(out).record.train.sha256
    (root / "mine/3.png").write_bytes(png(value=9))
    cache.prepare(own(), out)
    loaded = cache.load_train(out)
    assert loaded.record.train.sha256 != before
    assert sorted([*loaded.train[:, 0, 0, 0], *loaded.validation[:, 0, 0, 0]]) == [0, 1, 2, 9]
    (root / "mine/3.png").unlink()
    with pytest.raises(DataError, match=r"mine: 5 images, must be 6"):
        cache.prepare(own(), out)


def test_another_folder_of_data_is_prepared_again_or_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = root.with_name("out")
    monkeypatch.delenv("CODEBOOK_DATA")
    assert not preparation.changed(own(), out), "nobody says that the images are elsewhere"
    other = root.with_name("other")
    other.mkdir()
    monkeypatch.setenv("CODEBOOK_DATA", str(other))
    message = "ffhq_subset_64: not at the place that CODEBOOK_DATA names; .*holds mine.*unset CODE"
    with pytest.raises(ConfigError, match=message):
        preparation.changed(own(), out)
    six(other / "mine")
    assert preparation.changed(own(), out)


def test_other_files_in_the_dataset_are_prepared_again_or_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = root.with_name("out")
    for place in (str(root), None):
        if place is None:
            monkeypatch.delenv("CODEBOOK_DATA")
        with pytest.raises(ConfigError, match=r"its file names; set CODEBOOK_DATA.*holds others"):
            preparation.changed(own("others"), out)
    monkeypatch.setenv("CODEBOOK_DATA", str(root))
    assert not preparation.changed(own("others", "mine"), out), "the images are where they were"
    six(root / "others")
    assert preparation.changed(own("others", "mine"), out)
    address = {"kind": "url", "files": [{"url": "http://127.0.0.1:9/a.zip", "md5": "0" * 32}]}
    assert preparation.changed(small(sources=[address]), out)


def test_a_setting_of_the_arrays_prepares_again(root: Path) -> None:
    """An option that a dataset's file does not give is not among its settings, so that a new option
    prepares nothing again.
    """
    settings = preparation.settings_of(small(options={"resize": True}))
    assert settings == {
        "reader": "image_folder", "options": {"resize": True}, "images": {"train": 4, "test": 2},
        "validation": 1, "image_size": 16, "channels": 3, "classes": None, "version": 1,
    }  # fmt: skip
    out, sources = root.with_name("out"), own().model_dump(exclude_unset=True)["sources"]
    assert not preparation.changed(small(sources=sources, title="Another"), out)
    assert preparation.changed(small(sources=sources, validation=2), out)


def test_a_record_of_an_older_release_is_read_or_prepared_again(root: Path) -> None:
    out = root.with_name("out")
    file = out / "dataset.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "validation": {"indices": [3, 4]}}))
    assert cache.load_train(out).record.validation == record["validation"] == 1
    assert preparation.is_prepared(out)
    for wrong in ({"validation": 0}, {"validation": 4}, {"validation": {"indices": [4, 3]}}):
        file.write_text(json.dumps({**record, **wrong}))
        assert not preparation.is_prepared(out)
    file.write_text(json.dumps({**record, "variance": 0}))
    assert not preparation.is_prepared(out)
    file.write_text(json.dumps({**record, "validation": "the last"}))
    with pytest.raises(DataError, match=r"dataset\.json: validation: .*; run workflows"):
        cache.load_train(out)
    assert not preparation.is_prepared(out)
    assert preparation.changed(own(), out)
    cache.prepare(own(), out)
    assert json.loads(file.read_text()) == record


def test_damaged_arrays_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = root.with_name("out")
    raw = bytearray((out / "train.npy").read_bytes())
    raw[-1] ^= 1
    (out / "train.npy").write_bytes(raw)
    for check in (cache.verify, cache.load_train):
        with pytest.raises(DataError, match=r"train\.npy: sha256 is not .*; prepare it again$"):
            check(out)
    with monkeypatch.context() as patched:
        patched.setattr(cache, "SMALL", len(raw) - 1)
        cache.load_train(out)
    (out / "train.npy").write_bytes(raw[:-5])
    with pytest.raises(DataError, match=r"train\.npy"):
        cache.load_train(out)
    np.save(out / "train.npy", np.zeros((4, 1, 16, 16), np.uint8))
    with pytest.raises(
        DataError, match=r"train\.npy: uint8 \(4, 1, 16, 16\), must be uint8 \(4, 3"
    ):
        cache.load_train(out)


def test_a_damaged_record_is_refused_by_file_and_key(root: Path) -> None:
    file = root.with_name("out") / "dataset.json"
    whole = file.read_text()
    for text, message in (
        ("{", "not JSON"),
        ("[]", "expected a mapping"),
        (whole.replace('"sha256"', '"sha"'), "train.sha256: the key is missing"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=rf"dataset\.json: {message}"):
            cache.load_train(file.parent)
