"""Protocols: what happens to images and reconstructions before anything is measured."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from workflows.config.datasets import ProtocolSettings, read_protocol


class NotFinite(ValueError):
    """A model returned values that are not finite, so it cannot be measured."""


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise NotFinite if a value is not finite. name: of the values in the message."""
    count = np.count_nonzero(~np.isfinite(values))
    if count:
        raise NotFinite(f"{name} hold values that are not finite ({count} of {values.size})")


class Protocol(ProtocolSettings):
    """The steps that a protocol's settings ask for. Images are (N, C, H, W)."""

    name: str

    def quantise(self, pictures: np.ndarray) -> np.ndarray:
        """Clip floats of any shape to [0, 1] and return them as uint8. Raises NotFinite."""
        check_finite(pictures, "the model's images")
        scaled = np.clip(pictures, 0, 1) * 255
        return (np.rint(scaled) if self.rounding == "nearest" else scaled).astype(np.uint8)

    def originals(self, images: np.ndarray) -> np.ndarray:
        """Return uint8 test images as this protocol writes them, uint8 of the same shape.

        Truncation changes 8-bit originals too: the published code takes them to [-1, 1] and back in
        float32, so levels 1 to 63 end just below a whole number and lose one.
        """
        if self.rounding == "nearest":
            return images
        half = np.float32(0.5)
        normalised = (images.astype(np.float32) / np.float32(255) - half) / half
        return self.quantise((normalised + np.float32(1)) / np.float32(2))

    def store(self, pictures: np.ndarray) -> np.ndarray:
        """Return uint8 pictures as read back from disk, after tiling grey and JPEG if asked for."""
        if self.tile_grey:
            pictures = rgb(pictures)
        if self.jpeg_quality is None:
            return pictures
        return np.stack([_through_jpeg(picture, self.jpeg_quality) for picture in pictures])

    def for_inception(self, stored: np.ndarray) -> np.ndarray:
        """Return stored pictures as uint8 (N, 3, H', W'), resized by Pillow if asked for."""
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
    """Return the protocol of `workflows/protocols/<name>.yaml`. Raises ConfigError."""
    return Protocol(name=name, **read_protocol(name).model_dump())


def rgb(pictures: np.ndarray) -> np.ndarray:
    """Return pictures (N, 1 or 3, H, W) with three channels."""
    return np.repeat(pictures, 3, axis=1) if pictures.shape[1] == 1 else pictures


def _channels_last(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    grey = len(picture) == 1
    file = io.BytesIO()
    image = Image.fromarray(picture[0] if grey else _channels_last(picture))
    image.save(file, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(file))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)
