"""What captions say of a plan: how long runs were trained, on how much, and in which networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from workflows.config.plan import Plan
from workflows.knobs import Diffusion
from workflows.registry import code_dim, codebook_size


def short(plan: Plan, dataset: str) -> str:
    """A dataset in a few words, for a sentence."""
    words = plan.title_of(dataset).split(",")[0].split()
    return " ".join(words[:4]) + ("…" if len(words) > 4 else "")


def trained(plan: Plan, cells: Iterable[str]) -> str:
    """The `length` of the trainings of these cells, as it is planned; empty without any."""
    cells = list(cells)
    epochs = {plan.knobs(cell).epochs for cell in cells}
    return length(epochs, {plan.size(cell) for cell in cells}) if cells else ""


def length(epochs: Collection[int], sizes: Iterable[tuple[int, int]]) -> str:
    """In words: "2 to 4 epochs over 12,000 images at batch 16". sizes: (images, batch size)."""
    first, last = min(epochs), max(epochs)
    span = f"{first:,}" if first == last else f"{first:,} to {last:,}"
    batches: dict[int, list[str]] = {}
    for images, batch in sorted(sizes):
        batches.setdefault(images, []).append(f"{batch:,}")
    over = " or ".join(f"{of:,} images at batch {' or '.join(batches[of])}" for of in batches)
    return f"{span} {'epoch' if last == 1 else 'epochs'} over {over}"


def training(plan: Plan, table: str, rows: Mapping[str, Collection[str]]) -> str:
    """Sentences: how long a table's runs are trained, their networks, where budgets make those
    smaller than the published, and their first stages; by dataset where they differ.

    rows: dataset -> the rows that are meant.
    """
    lengths = {name: trained(plan, plan.cells_of(table, name, rows[name])) for name in rows}
    texts = [by_dataset(plan, lengths)]
    for told in (networks, first_stages):
        said = {name: "; ".join(told(plan, table, name, rows[name])) for name in rows}
        texts.append(by_dataset(plan, said, ". "))
    return " ".join(f"{text}." for text in texts if text)


def by_dataset(plan: Plan, texts: Mapping[str, str], between: str = "; ") -> str:
    """Dataset -> text as one text, which names the datasets where they differ."""
    found: dict[str, list[str]] = {}
    for dataset, text in texts.items():
        found.setdefault(text, []).append(short(plan, dataset))
    if len(found) == 1:
        return next(iter(found))
    return between.join(f"{text} ({', '.join(names)})" for text, names in found.items() if text)


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
        parts = [f"first stage of {trained(plan, [name])}", described(plan.knobs(name))]
        return ", ".join(filter(None, parts))

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


def described(knobs: Any) -> str:
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
    said = []
    if knobs.network == "vqgan":
        distance = {"vgg": "VGG16", "alex": "AlexNet"}[knobs.perceptual_network]
        said.append(
            f"VQGAN of {knobs.network_channels} channels, f = {knobs.downsampling}, with "
            f"{distance}'s LPIPS and a critic from step {knobs.adversarial_start:,}"
        )
    if "codebook_size" not in type(knobs).model_fields:
        codes = codebook_size(knobs)
        size = "no codebook, latents of" if codes is None else f"{codes:,} codes of"
        said.append(f"{size} {code_dim(knobs)} dimensions")
    return ", ".join(said)


def reference(plan: Plan, dataset: str) -> str:
    """The training images that samples of a dataset's models are compared with."""
    there = plan.datasets[dataset].images
    wanted = plan.reference_images or there
    return f"the first {wanted:,} of {there:,}" if wanted < there else f"all {there:,}"
