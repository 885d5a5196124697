"""The figures, each a function from collected measurements to a Figure and the numbers it shows."""

from collections.abc import Callable
from functools import partial

from workflows.config.experiments import Figure as Described
from workflows.render.collected import Collected
from workflows.render.figures import codevectors, images, lines
from workflows.render.figures.layout import Drawing, encoded

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
    "usage_quality": partial(lines.points, x="usage", metric="rFID"),
    "seconds_quality": partial(lines.points, x="minutes", metric="PSNR"),
    "seconds_samples": partial(lines.points, x="minutes", metric="FID", stage=2),
}
for _table in ("lsun", "ffhq_imagenet"):
    for _draw in (images.samples, lines.progress, images.neighbours):
        DRAWN[f"{_draw.__name__}_{_table}"] = partial(_draw, table=f"generation_{_table}")


def files(data: Collected, name: str, described: Described) -> dict[str, bytes]:
    """Return file name -> content of a figure: its SVG and PNG, and the CSV of its numbers.

    A figure of figures.yaml with more files also has its animation.
    """
    drawing = DRAWN[name](data)
    table = drawing.numbers.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    return {
        **{f"{name}.{kind}": encoded(drawing.figure, kind) for kind in ("svg", "png")},
        f"{name}.csv": table.encode(),
        **{file: codevectors.gif(codevectors.animation(data)) for file in described.more},
    }
