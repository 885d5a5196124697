"""The figures, each a function from collected measurements to a Figure."""

from collections.abc import Callable
from functools import partial
from io import BytesIO

from matplotlib.figure import Figure

from workflows.config.experiments import Figure as Described
from workflows.render.collected import Collected
from workflows.render.figures.codevectors import animation, codevectors, gif
from workflows.render.figures.images import neighbours, reconstructions, samples
from workflows.render.figures.layout import DOUBLE, DPI, page
from workflows.render.figures.lines import (
    code_histograms,
    codebook_size,
    dimensionality,
    progress,
    training_curves,
)
from workflows.render.notes import NOTHING, budget

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


def files(data: Collected, name: str, described: Described) -> dict[str, bytes]:
    """The files of a figure by name. A table that the budget leaves out has figures of words."""
    if data.plan.datasets_of(described.table):
        figure = DRAWN[name](data)
        frames = animation(data) if described.more else iter(())
    else:
        figure = page(DOUBLE, 0.3, [f"{budget(data, described.table, [])} {NOTHING}"])
        frames = iter([figure])
    kinds = {f"{name}.{kind}": image(figure, kind) for kind in ("svg", "png")}
    return kinds | {file: gif(frames) for file in described.more}


def image(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of an SVG or PNG file, the same each time."""
    stream = BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return stream.getvalue()
