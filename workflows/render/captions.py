"""What captions say of a plan: how long runs were trained, on how much, and in which networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from workflows.config.plan import Plan
from workflows.knobs import Diffusion, Training
from workflows.registry import code_dim, codebook_size


def training_sizes(
    plan: Plan, table: str, dataset: str, rows: Collection[str] = ()
) -> list[tuple[int, int]]:
    """The different (training images, batch size) of a table's runs on a dataset, sorted.

    rows: all if none are named.
    """
    return sorted({plan.size(cell) for cell in plan.cells_of(table, dataset, rows)})


def trained(plan: Plan, table: str, dataset: str, rows: Collection[str] = ()) -> str:
    """The `length` of the trainings of these rows, or of all, as it is planned."""
    return _length_of(plan, plan.cells_of(table, dataset, rows))


def trained_below(plan: Plan, table: str, dataset: str, rows: Collection[str] = ()) -> str:
    """The `length` of the trainings of the first stages below these rows, or below all, as it is
    planned; empty if no row has a first stage.
    """
    below = {plan.cells[cell].first_stage for cell in plan.cells_of(table, dataset, rows)}
    return _length_of(plan, found) if (found := [name for name in below if name]) else ""


def _length_of(plan: Plan, cells: Collection[str]) -> str:
    epochs = {plan.knobs(cell).epochs for cell in cells}
    return length(epochs, sorted({plan.size(cell) for cell in cells}))


def length(epochs: Collection[int], sizes: Iterable[tuple[int, int]]) -> str:
    """In words: "2 to 4 epochs over 12,000 images at batch 16". sizes: (images, batch size)."""
    first, last = min(epochs), max(epochs)
    span = f"{first:,}" if first == last else f"{first:,} to {last:,}"
    batches: dict[int, list[str]] = {}
    for images, batch in sizes:
        batches.setdefault(images, []).append(f"{batch:,}")
    over = " or ".join(f"{of:,} images at batch {' or '.join(batches[of])}" for of in batches)
    return f"{span} {'epoch' if last == 1 else 'epochs'} over {over}"


def networks(plan: Plan, table: str, dataset: str, rows: Collection[str]) -> list[str]:
    """What is to be said of the networks of those rows' runs on a dataset, and of which rows,
    unless it is of all.
    """
    return _told(plan, table, dataset, rows, lambda cell: described(plan.knobs(cell)))


def first_stages(plan: Plan, table: str, dataset: str, rows: Collection[str]) -> list[str]:
    """How long the first stages below those rows' runs were trained and in which networks, and of
    which rows, unless it is of all. Nothing of models of pixels.
    """

    def first_stage(cell: str) -> str:
        name = plan.cells[cell].first_stage
        if name is None:
            return ""
        text = f"first stage of {_length_of(plan, [name])}"
        network = described(plan.knobs(name))
        return f"{text}, {network}" if network else text

    return _told(plan, table, dataset, rows, first_stage)


def _told(
    plan: Plan, table: str, dataset: str, rows: Collection[str], tell: Callable[[str], str]
) -> list[str]:
    found: dict[str, list[str]] = {}
    for row, cells in plan.rows_of(table, dataset).items():
        if row in rows:
            found.setdefault(tell(cells[0]), []).append(row)
    return [
        text[0].upper() + text[1:] if len(found) == 1 else f"{', '.join(of)}: {text}"
        for text, of in found.items()
        if text
    ]


def described(knobs: Training | Diffusion) -> str:
    """The size of a network that budgets make smaller than the published, and of a codebook that is
    no setting; empty for the small autoencoder with a codebook of the table's size.
    """
    if isinstance(knobs, Diffusion):
        levels = ", ".join(str(factor) for factor in knobs.unet_multipliers)
        asked = f", guidance {knobs.guidance:g}" if knobs.guidance != 1 else ""
        return (
            f"U-Net of {knobs.unet_channels} channels times {levels}, "
            f"{knobs.sampling_steps} sampling steps{asked}"
        )
    said = [_vqgan(knobs)] if knobs.network == "vqgan" else []
    if "codebook_size" not in type(knobs).model_fields:
        codes = codebook_size(knobs)
        of = f"{code_dim(knobs)} dimensions"
        size = "no codebook, latents of" if codes is None else f"{codes:,} codes of"
        said.append(f"{size} {of}")
    return ", ".join(said)


def _vqgan(knobs: Any) -> str:
    distance = {"vgg": "VGG16", "alex": "AlexNet"}[knobs.perceptual_network]
    return (
        f"VQGAN of {knobs.network_channels} channels, f = {knobs.downsampling}, with "
        f"{distance}'s LPIPS and a critic from step {knobs.adversarial_start:,}"
    )


def reference(plan: Plan, dataset: str) -> str:
    """The training images that samples of a dataset's models are compared with."""
    there = plan.datasets[dataset].images
    wanted = plan.reference_images or there
    return f"the first {wanted:,} of {there:,}" if wanted < there else f"all {there:,}"
