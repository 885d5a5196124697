"""Protocols: what happens to images and reconstructions before anything is measured."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from workflows.config.datasets import ProtocolSettings, read_protocol


class NotFinite(ValueError):
    """A model gave values that are no finite numbers, so that it cannot be measured."""


def check_finite(values: np.ndarray, what: str) -> None:
    """Raise NotFinite if a value is not finite. what: the values' name in the message."""
    wrong = np.count_nonzero(~np.isfinite(values))
    if wrong:
        raise NotFinite(f"{what} hold values that are not finite ({wrong} of {values.size})")


class Protocol(ProtocolSettings):
    """What a protocol's settings do to images, which are (N, C, H, W) everywhere."""

    name: str

    def quantise(self, pictures: np.ndarray) -> np.ndarray:
        """Floats of any shape, clipped to [0, 1], to uint8. Raises NotFinite."""
        check_finite(pictures, "the model's images")
        scaled = np.clip(pictures, 0, 1) * 255
        return (np.rint(scaled) if self.rounding == "nearest" else scaled).astype(np.uint8)

    def originals(self, images: np.ndarray) -> np.ndarray:
        """uint8 test images as this protocol writes them, uint8 of the same shape.

        Truncation is not harmless to 8-bit originals: the published code takes them to [-1, 1] and
        back in float32, after which levels 1 to 63 fall a hair short and lose one.
        """
        if self.rounding == "nearest":
            return images
        half = np.float32(0.5)
        normalised = (images.astype(np.float32) / np.float32(255) - half) / half
        return self.quantise((normalised + np.float32(1)) / np.float32(2))

    def store(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 pictures as read back from disk: grey tiled and through JPEG if so asked."""
        if self.tile_grey:
            pictures = rgb(pictures)
        if self.jpeg_quality is None:
            return pictures
        return np.stack([_through_jpeg(picture, self.jpeg_quality) for picture in pictures])

    def for_inception(self, stored: np.ndarray) -> np.ndarray:
        """Stored pictures to uint8 (N, 3, H', W'), resized by Pillow if so asked."""
        stored = rgb(stored)
        if self.fid_resize is None:
            return stored
        size = (self.fid_resize, self.fid_resize)
        resized = [
            np.asarray(Image.fromarray(_channels_last(p)).resize(size, Image.Resampling.BILINEAR))
            for p in stored
        ]
        return np.stack(resized).transpose(0, 3, 1, 2)


def load_protocol(name: str) -> Protocol:
    """The protocol `workflows/protocols/<name>.yaml`. Raises ConfigError."""
    return Protocol(name=name, **read_protocol(name).model_dump())


def rgb(pictures: np.ndarray) -> np.ndarray:
    """(N, 1 or 3, H, W) to (N, 3, H, W)."""
    return np.repeat(pictures, 3, axis=1) if pictures.shape[1] == 1 else pictures


def _channels_last(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    grey = len(picture) == 1
    buffer = io.BytesIO()
    image = Image.fromarray(picture[0] if grey else _channels_last(picture))
    image.save(buffer, "JPEG", quality=quality)
    read = np.asarray(Image.open(buffer))
    return read[None] if grey else read.transpose(2, 0, 1)
