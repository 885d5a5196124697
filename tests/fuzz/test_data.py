"""Bytes of images, archives and databases, changed anywhere: decoded or refused by name."""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.test_data import database, png, small
from workflows.data import databases, images
from workflows.data.registry import DataError


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


IMAGES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")}


def archived(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            for k in range(6):
                packed.writestr(f"{k}.png", png(value=k))
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for k in range(6):
            member = tarfile.TarInfo(f"{k}.png")
            member.size = len(png(value=k))
            archive.addfile(member, io.BytesIO(png(value=k)))
    return lzma.compress(buffer.getvalue()) if kind == "tar.xz" else buffer.getvalue()


ARCHIVES = {kind: archived(kind) for kind in ("zip", "tar", "tar.xz")}


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes changed, most often where formats keep their headers; or the end cut off."""
    raw = bytearray(whole)
    place = st.integers(0, len(raw) - 1) | st.integers(0, min(len(raw) - 1, 64))
    for at in draw(st.lists(place, min_size=1, max_size=6)):
        raw[at] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.just(len(raw)) | place)])


@given(data=st.data())
@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged EXIF
@pytest.mark.parametrize("kind", IMAGES)
def test_images(kind: str, data: st.DataObject) -> None:
    raw = data.draw(damaged(IMAGES[kind]))
    try:
        pixels = images.decode(raw, "a.png", small(options={"resize": True}))
    except DataError as error:
        said = str(error)
        assert said.startswith("a.png: ")
        assert "\n" not in said
    else:
        assert pixels.shape == (3, 16, 16)
        assert pixels.dtype == np.uint8


@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("archive")
    path = folder / f"a.{kind}"
    path.write_bytes(data.draw(damaged(ARCHIVES[kind])))
    try:
        decoded = images.read_image_folder(small(), (path,))
    except DataError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
    else:
        assert decoded.train.shape == (4, 3, 16, 16)
    assert list(folder.iterdir()) == [path]


@pytest.fixture(scope="module")
def bedrooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database(tmp_path_factory.mktemp("lmdb") / "a", range(12))


@given(data=st.data())
def test_databases(
    tmp_path_factory: pytest.TempPathFactory, bedrooms: Path, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("database")
    (folder / "data.mdb").write_bytes(data.draw(damaged((bedrooms / "data.mdb").read_bytes())))
    try:
        decoded = databases.read_lmdb(small(), (folder, bedrooms))
    except DataError as error:
        assert str(error).startswith(str(folder))  # noqa: PT017
    else:
        assert decoded.train.shape == (4, 3, 16, 16)
