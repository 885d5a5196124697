"""Where a reconstruction errs: |x - x̂| of every pixel as a colour, and the key to the colours."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from workflows.render.lettering import height, wrap
from workflows.render.style import GREY, LABEL, TICK

# Evenly perceived from dark to light, also by the colour-blind and in print without colour.
COLOURS = "magma"
# 8-bit levels; larger errors have the last colour. The same in every figure, so that methods,
# datasets and budgets can be compared.
MOST = 128
UNIT = "absolute error of a pixel, mean of its channels (8-bit levels)"
BAR = (1.6, 0.07)  # inches
TICKS = {0: "0", MOST // 2: f"{MOST // 2}", MOST: f"{MOST} and more"}
UNDER = height(1, TICK) + 0.08  # the bar's ticks


def error_map(image: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """Colours, uint8 (h, w, 3), of the mean over channels of |x - x̂|; both uint8 (h, w, c)."""
    errors = np.abs(image.astype(float) - reconstruction).mean(axis=2)
    colours = mpl.colormaps[COLOURS](np.minimum(errors / MOST, 1.0), bytes=True)
    return colours[..., :3]


def room(wide: float) -> float:
    """The height of the key where so much width is free, inches."""
    return height(wrap(UNIT, LABEL, wide).count("\n") + 1, LABEL) + 0.04 + BAR[1] + UNDER


def key(figure: Figure, left: float, bottom: float, wide: float) -> None:
    """The colours with their unit above and levels below. left, bottom, wide: inches."""
    size = figure.get_size_inches()
    at = bottom + UNDER
    box = (left / size[0], at / size[1], BAR[0] / size[0], BAR[1] / size[1])
    ax = figure.add_axes(box)
    ax.imshow(np.linspace(0, MOST, 256)[None], COLOURS, aspect="auto", extent=(0, MOST, 0, 1))
    ax.set_yticks([])
    ax.set_xticks(list(TICKS), list(TICKS.values()))
    ax.spines[:].set_visible(False)
    x, y = left / size[0], (at + BAR[1] + 0.04) / size[1]
    words = wrap(UNIT, LABEL, wide)
    figure.text(x, y, words, size=LABEL, color=GREY, va="bottom", linespacing=1.1)
