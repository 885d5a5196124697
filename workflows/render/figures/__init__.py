"""The figures, each a function from collected measurements to a Figure and the numbers it shows."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from workflows.config.experiments import Figure as Described
from workflows.render.collected import Collected
from workflows.render.figures import codevectors, images, lines
from workflows.render.figures.layout import DOUBLE, Drawing, encoded, page

# Name in figures.yaml -> the function that draws the figure.
DRAWN: dict[str, Callable[[Collected], Drawing]] = {
    "dimensionality": lines.dimensionality,
    "codebook_size": lines.codebook_size,
    "training_curves": lines.training_curves,
    "reconstructions": images.reconstructions,
    "code_histograms": lines.code_histograms,
    "codevectors": codevectors.codevectors,
    "training_length": lines.training_length,
    "frozen_latents": lines.frozen_latents,
    "cosine_loss": lines.cosine_loss,
}
for _table in ("lsun", "ffhq_imagenet"):
    for _draw in (images.samples, lines.progress, images.neighbours):
        DRAWN[f"{_draw.__name__}_{_table}"] = partial(_draw, table=f"generation_{_table}")
# Figures of the cells of all tables, with title and caption. Only the site shows them.
OF_ALL: dict[str, tuple[Callable[[Collected], Drawing], dict[str, str]]] = {
    "usage_quality": (
        partial(lines.points, x="usage", metric="rFID"),
        {
            "title": "Usage and quality",
            "caption": "rFID against the share of codes in use, a point for each trained "
            "autoencoder; lower is better. A full codebook alone does not make a low rFID.",
        },
    ),
    "seconds_quality": (
        partial(lines.points, x="minutes", metric="PSNR"),
        {
            "title": "Time and quality",
            "caption": "PSNR against the minutes of training, a point for each trained "
            "autoencoder; higher is better. Minutes depend on the machine and on what else ran.",
        },
    ),
    "seconds_samples": (
        partial(lines.points, x="minutes", metric="FID", stage=2),
        {
            "title": "Time and samples",
            "caption": "FID against the minutes of training, a point for each generative model; "
            "lower is better. Minutes are of the model alone, without its first stage, and depend "
            "on the machine and on what else ran.",
        },
    ),
}


def files(data: Collected, name: str, described: Described) -> dict[str, bytes]:
    """Return file name -> content of a figure of figures.yaml.

    If the budget leaves the figure's table out, the figure says so in words.
    """
    if data.plan.datasets_of(described.table):
        drawing = DRAWN[name](data)
        frames = codevectors.animation(data) if described.more else iter(())
    else:
        figure = page(DOUBLE, 0.3, f"Budget {data.plan.budget} leaves this table out.")
        drawing, frames = Drawing(figure, pd.DataFrame({"dataset": []})), iter([figure])
    return three_files(name, drawing) | {file: codevectors.gif(frames) for file in described.more}


def three_files(name: str, drawing: Drawing) -> dict[str, bytes]:
    """Return the contents of a figure's SVG and PNG, and of the CSV of its numbers."""
    table = drawing.numbers.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    pictures = {f"{name}.{kind}": encoded(drawing.figure, kind) for kind in ("svg", "png")}
    return {**pictures, f"{name}.csv": table.encode()}
