"""Bytes of images and archives, changed anywhere: decoded or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.made import encoded, png, small, tar, zipped
from workflows.data import images
from workflows.errors import DataError

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
IMAGES = {kind: encoded(NOISE, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")}
SMALL = small()
RESIZED = small(options={"resize": True})
PNGS = [(f"{k}.png", png(value=k)) for k in range(6)]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Archives of six images, by kind."""
    folder = tmp_path_factory.mktemp("whole")
    write = {"zip": zipped, "tar": tar}
    return {kind: write[kind](folder / f"a.{kind}", PNGS).read_bytes() for kind in write}


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
        pixels = images.decode(raw, "a.png", RESIZED)
    except DataError as error:
        said = str(error)
        assert said.startswith("a.png: ")
        assert "\n" not in said
    else:
        assert pixels.shape == (3, 16, 16)
        assert pixels.dtype == np.uint8


@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives(
    tmp_path_factory: pytest.TempPathFactory,
    archives: dict[str, bytes],
    kind: str,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    path = folder / f"a.{kind}"
    path.write_bytes(data.draw(damaged(archives[kind])))
    try:
        decoded = images.read_image_folder(SMALL, (path,))
    except DataError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
    else:
        assert decoded.train.shape == (4, 3, 16, 16)
    assert list(folder.iterdir()) == [path]
