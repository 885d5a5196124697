"""The figures, each a function from collected measurements to a Figure."""

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from workflows.render.collected import Collected
from workflows.render.figures.codevectors import codevectors, gif
from workflows.render.figures.images import neighbours, reconstructions, samples
from workflows.render.figures.lines import (
    code_histograms,
    codebook_size,
    dimensionality,
    progress,
    training_curves,
)

# By their names in figures.yaml.
DRAWN: dict[str, Callable[[Collected], Figure]] = {
    "dimensionality": dimensionality,
    "codebook_size": codebook_size,
    "training_curves": training_curves,
    "reconstructions": reconstructions,
    "code_histograms": code_histograms,
    "codevectors": codevectors,
}
for _table in ("lsun", "ffhq_imagenet"):
    for _draw in (samples, progress, neighbours):
        DRAWN[f"{_draw.__name__}_{_table}"] = partial(_draw, table=f"generation_{_table}")
# The bytes of a GIF, for those that move.
MOVING: dict[str, Callable[[Collected], bytes]] = {"codevectors": gif}
