"""Small images on a page, pixel for pixel, or words where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from workflows.render.lettering import height, wrap
from workflows.render.style import DPI, GREY, LABEL

TILE = 64  # pixels of the page: the largest side of an image
PITCH = (TILE + 2) / DPI  # inches from line to line


def tiled(row: np.ndarray) -> np.ndarray:
    """Square images side by side, (h, w, 3), with a white line between them."""
    gap = max(1, row.shape[0] // 32)
    tiles = np.split(row, row.shape[1] // row.shape[0], axis=1)
    white = np.full((row.shape[0], gap, 3), 255, np.uint8)
    parts = [part for tile in tiles for part in (white, tile)]
    return np.concatenate(parts[1:], axis=1)


def halves(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The originals and the reconstructions of a cell's picture, uint8 (h, w, 3) each.

    Grey becomes equal colours.
    """
    pixels = np.asarray(Image.open(path).convert("RGB"))
    half = pixels.shape[0] // 2
    return pixels[:half], pixels[half:]


def scale(picture: np.ndarray) -> float:
    """Pixels of the page for each of the picture's: a whole number, so that all are alike.

    Images too large for that are drawn smaller.
    """
    rows = picture.shape[0]
    return TILE // rows if rows <= TILE else TILE / rows


@dataclass(frozen=True)
class Corner:
    """The top left of a dataset's pictures, in inches from that of the page."""

    figure: Figure
    left: float
    top: float

    def write(self, x: float, y: float, text: str, size: float, **place: Any) -> None:
        """Text, at inches from the corner."""
        wide, tall = self.figure.get_size_inches()
        at = ((self.left + x) / wide, 1 - (self.top + y) / tall)
        self.figure.text(*at, text, size=size, linespacing=1.1, **place)

    def put(self, middle: float, what: np.ndarray | str, room: float) -> None:
        """A line's picture, or words in its place. middle: of the line, from the corner."""
        if isinstance(what, str):
            lines = int(PITCH / height(1, LABEL))
            self.write(0, middle, wrap(what, LABEL, room, lines), LABEL, va="center", color=GREY)
            return
        rows, columns = what.shape[:2]
        each = scale(what)
        wide, tall = np.round(self.figure.get_size_inches() * DPI)
        x = round(self.left * DPI)
        y = tall - round((self.top + middle) * DPI + each * rows / 2)
        box = (x / wide, y / tall, each * columns / wide, each * rows / tall)
        ax = self.figure.add_axes(box)
        ax.set_axis_off()
        # "none" keeps the stored pixels in the SVG too, where "nearest" would resample them.
        ax.imshow(what, interpolation="none", aspect="auto")
