"""The figures, each a function from collected measurements to a Figure and the numbers it shows."""

from collections.abc import Callable
from functools import partial
from io import BytesIO

import pandas as pd
from matplotlib.figure import Figure

from workflows.config.experiments import Figure as Described
from workflows.render.collected import Collected
from workflows.render.figures.codevectors import animation, codevectors, gif
from workflows.render.figures.comparisons import cosine_loss, frozen_latents, training_length
from workflows.render.figures.images import neighbours, reconstructions, samples
from workflows.render.figures.layout import DOUBLE, DPI, Drawing, page
from workflows.render.figures.lines import (
    code_histograms,
    codebook_size,
    dimensionality,
    progress,
    seconds_quality,
    seconds_samples,
    training_curves,
    usage_quality,
)

# By their names in figures.yaml.
DRAWN: dict[str, Callable[[Collected], Drawing]] = {
    "dimensionality": dimensionality,
    "codebook_size": codebook_size,
    "training_curves": training_curves,
    "reconstructions": reconstructions,
    "code_histograms": code_histograms,
    "codevectors": codevectors,
    "training_length": training_length,
    "frozen_latents": frozen_latents,
    "cosine_loss": cosine_loss,
}
for _table in ("lsun", "ffhq_imagenet"):
    for _draw in (samples, progress, neighbours):
        DRAWN[f"{_draw.__name__}_{_table}"] = partial(_draw, table=f"generation_{_table}")
# Figures of all cells, whatever table shows them, with title and caption: the site draws these.
OF_ALL: dict[str, tuple[Callable[[Collected], Drawing], dict[str, str]]] = {
    "usage_quality": (
        usage_quality,
        {
            "title": "Usage and quality",
            "caption": "rFID against the share of codes in use, a point for each trained "
            "autoencoder; lower is better. A full codebook alone does not make a low rFID.",
        },
    ),
    "seconds_quality": (
        seconds_quality,
        {
            "title": "Time and quality",
            "caption": "PSNR against the minutes of training, a point for each trained "
            "autoencoder; higher is better. Minutes depend on the machine and on what else ran.",
        },
    ),
    "seconds_samples": (
        seconds_samples,
        {
            "title": "Time and samples",
            "caption": "FID against the minutes of training, a point for each generative model; "
            "lower is better. Minutes are of the model alone, without its first stage, and depend "
            "on the machine and on what else ran.",
        },
    ),
}


def files(data: Collected, name: str, described: Described) -> dict[str, bytes]:
    """The files of a figure by name. A table that the budget leaves out has figures of words."""
    if data.plan.datasets_of(described.table):
        drawing = DRAWN[name](data)
        frames = animation(data) if described.more else iter(())
    else:
        figure = page(DOUBLE, 0.3, f"Budget {data.plan.budget} leaves this table out.")
        drawing, frames = Drawing(figure, pd.DataFrame({"dataset": []})), iter([figure])
    return three_files(name, drawing) | {file: gif(frames) for file in described.more}


def three_files(name: str, drawing: Drawing) -> dict[str, bytes]:
    """A figure as SVG and as PNG, and what it shows as CSV."""
    table = drawing.numbers.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    pictures = {f"{name}.{kind}": image(drawing.figure, kind) for kind in ("svg", "png")}
    return {**pictures, f"{name}.csv": table.encode()}


def image(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of an SVG or PNG file, the same each time."""
    stream = BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return stream.getvalue()
