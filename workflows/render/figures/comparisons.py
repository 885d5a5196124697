"""Figures of the tables that go beyond the paper's."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from workflows.records.published import as_number
from workflows.render.collected import Collected
from workflows.render.figures.layout import DOUBLE, GREY, NOTE, Drawing, style
from workflows.render.figures.lines import (
    METHODS,
    Panels,
    cells_of,
    in_training,
    sweep,
    swept,
)
from workflows.render.numbers import too_few_images

# Published rows of the table of methods that bound the panels of `training_length`.
PUBLISHED = ("VQ-VAE (l2)", "CVQ-VAE + contrastive")
# Rows of the table of methods, of which the second has no bound on the scale of its codevectors.
BY_DISTANCE = ("VQ-VAE (l2)", "VQ-VAE (cosine)", "CVQ-VAE")


def training_length(data: Collected) -> Drawing:
    """PSNR and rFID against the images that a training has seen, and the published numbers."""
    table = "training_length"
    cells = cells_of(data, table)
    of = [data.plan.cells[cell] for cell in cells["cell"]]
    seen = [cell.images * cell.knobs.epochs for cell in of]
    label = "training images seen (published: 25 million)"
    drawing, panels = sweep(data, table, cells.assign(x=seen), ["PSNR", "rFID"], label)
    for ax in panels.values():
        ticks = sorted(set(seen))
        ax.set_xticks(ticks, [f"{images:,}" for images in ticks])
    _published(data, table, panels)
    return drawing


def frozen_latents(data: Collected) -> Drawing:
    """Usage and error against the number of codevectors, for quantisers that are trained alone."""
    table = "frozen_latents"
    cells = swept(data, table, "codebook_size")
    drawing, panels = sweep(data, table, cells, ["usage", "error"], "codebook size K")
    if panels:
        # The legend has a line for each of some sixteen rows.
        drawing.figure.set_size_inches(DOUBLE, 4.6)
    for (_, metric), ax in panels.items():
        if metric == "error":
            ax.axhline(1, color=GREY, lw=0.7, ls=(0, (6, 3)))
            _logarithmic(ax)
        else:
            ax.set_ylim(bottom=0)
    return drawing


def cosine_loss(data: Collected) -> Drawing:
    """The training loss of VQ-VAE by its distance, beside CVQ-VAE."""
    cells = cells_of(data, METHODS)
    shown = cells[cells["row"].isin(BY_DISTANCE)].reset_index(drop=True)
    columns = {"loss": ("training loss", 1.0), "reconstruction": ("reconstruction term", 1.0)}
    drawing, panels = in_training(data, shown, columns)
    for ax in panels.values():
        _logarithmic(ax)
    return drawing


def _logarithmic(ax: Axes) -> None:
    """A vertical axis on which doubling is a step."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


def _published(data: Collected, table: str, panels: Panels) -> None:
    """A line across each panel for each published number that may stand beside ours."""
    ours, known = data.numbers(table), data.published[data.published["table"] == METHODS]
    for (dataset, metric), ax in panels.items():
        rests_on = ours[(ours["dataset"] == dataset) & (ours["metric"] == metric)]["images"]
        if too_few_images(metric, set(rests_on.dropna())):
            continue
        here = known[known["dataset"] == data.plan.published_dataset(dataset, table)]
        values = here[here["metric"] == metric].set_index("row")["value"]
        for row in PUBLISHED:
            if row in values.index:
                value, colour = as_number(values[row]), style(row).colour
                ax.axhline(value, color=colour, lw=0.7, ls=(0, (1, 2)))
                said = f"{row}, published: {values[row]}"
                text = ax.text(0.01, value, said, color=colour, size=NOTE, va="bottom")
                text.set_transform(ax.get_yaxis_transform())
