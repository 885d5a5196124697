"""Bytes of images, changed anywhere: decoded or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.example_files import encoded, small
from workflows.data import images
from workflows.errors import DataError

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
IMAGES = {kind: encoded(NOISE, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")}
RESIZED = small(options={"resize": True})


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
        message = str(error)
        assert message.startswith("a.png: ")
        assert "\n" not in message
    else:
        assert pixels.shape == (3, 16, 16)
        assert pixels.dtype == np.uint8
