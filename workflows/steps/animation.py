"""The films of a table's trainings as one GIF: `python -m workflows.steps.animation --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from workflows.files import write_atomically
from workflows.render.animation import animation
from workflows.render.collected import Collected
from workflows.schema import ConfigError
from workflows.steps.figures import options, read

DPI = 130  # of a screen
FRAME, LAST = 170, 3000  # milliseconds that a frame is shown
COLOURS = 48


def drawn(figures: Iterable[Figure]) -> list[Image.Image]:
    """Each figure as pixels."""
    pictures = []
    for figure in figures:
        figure.set_dpi(DPI)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
        pictures.append(Image.fromarray(pixels).convert("RGB"))
    return pictures


def write(pictures: list[Image.Image], path: Path) -> None:
    """One after the other, for ever, the last one held.

    All have the palette of the first, the middle and the last together: with one of its own each,
    a colour would flicker, and what stays the same would be stored again.
    """
    few = [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
    together = Image.fromarray(np.concatenate([np.asarray(picture) for picture in few]))
    palette = together.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    # The paper's colour, that of a corner, became the mean of a box of colours: almost white.
    paper = int(flat[0].getpixel((0, 0)))  # type: ignore[arg-type]
    for picture in flat:
        values = picture.getpalette() or []
        picture.putpalette([*values[: 3 * paper], 255, 255, 255, *values[3 * paper + 3 :]])
    flat[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=flat[1:],
        duration=[FRAME] * (len(flat) - 1) + [LAST],
        loop=0,
    )


def run(data: Collected, out: Path) -> None:
    """Write the animation as a GIF. Raises ConfigError and OSError."""
    pictures = drawn(animation(data))
    write_atomically(out, lambda path: write(pictures, path))


def main() -> int:
    """Draw every frame; 1 with one line on stderr if something is wrong."""
    arguments = options(__doc__).parse_args()
    try:
        run(read(arguments.plan, arguments.collected), arguments.out)
    except (ConfigError, OSError) as error:
        print(f"animation: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
