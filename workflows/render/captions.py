"""What is said of a plan: names of datasets, lengths of training, sizes of networks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from workflows.config.plan import TITLES, Plan
from workflows.knobs import Adversarial, Diffusion, Prior
from workflows.registry import code_dim, codebook_size
from workflows.render.numbers import span

METHODS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("methods.yaml").read_text(encoding="utf-8")
)


def short(plan: Plan, dataset: str, table: str | None = None) -> str:
    """A dataset in two or three words; `plan.dataset_title` has the whole name."""
    real = plan.stands_for(dataset, table)
    if real:
        return f"{TITLES.get(real, real).split(',')[0]} stand-in"
    return plan.title_of(dataset).split(",")[0]


def method_title(method: str) -> str:
    """How a method is called in words, which is its name if methods.yaml does not know it."""
    return METHODS.get(method, {"title": method})["title"]


def trained(plan: Plan, cells: Iterable[str]) -> str:
    """How long cells are trained: "2 to 4 epochs over 12,000 images at batch 16 or 64"."""
    cells = list(cells)
    epochs = {plan.knobs(cell).epochs for cell in cells}
    batches: dict[int, list[str]] = {}
    for images, batch in sorted({plan.size(cell) for cell in cells}):
        batches.setdefault(images, []).append(f"{batch:,}")
    over = " or ".join(f"{of:,} images at batch {' or '.join(batches[of])}" for of in batches)
    return f"{span(epochs)} {'epoch' if epochs == {1} else 'epochs'} over {over}"


def training(plan: Plan, table: str, rows: Mapping[str, Collection[str]]) -> str:
    """A sentence for each dataset: how long which rows are trained, in which networks, and on which
    first stages. rows: dataset -> the rows that are meant.
    """
    return " ".join(
        f"{short(plan, dataset, table)}: {'; '.join(_told(plan, table, dataset, rows[dataset]))}."
        for dataset in rows
    )


def _told(plan: Plan, table: str, dataset: str, rows: Collection[str]) -> list[str]:
    """What is the same for all rows once; what differs with the rows that it is said of."""
    found: dict[str, list[str]] = {}
    for row, cells in plan.rows_of(table, dataset).items():
        if row in rows:
            found.setdefault(described(plan, cells[0]), []).append(row)
    if len(found) == 1:
        return list(found)
    return [f"{text} ({', '.join(of)})" for text, of in found.items()]


def described(plan: Plan, cell: str) -> str:
    """A training: its length, its network if budgets make that smaller than the published, and its
    first stage.
    """
    parts = [trained(plan, [cell]), *_network(plan.knobs(cell))]
    below = plan.cells[cell].first_stage
    if below in plan.cells:
        parts.append(f"on a first stage of {described(plan, below)}")
    return ", ".join(parts)


def _network(knobs: Any) -> list[str]:
    """Nothing is said of the small autoencoder with a codebook of the table's size."""
    if isinstance(knobs, Diffusion):
        levels = ", ".join(str(factor) for factor in knobs.unet_multipliers)
        asked = [f"guidance {knobs.guidance:g}"] if knobs.guidance != 1 else []
        unet = f"U-Net of {knobs.unet_channels} channels times {levels}"
        return [unet, f"{knobs.sampling_steps} sampling steps", *asked]
    if isinstance(knobs, Prior):
        passes = [f"{knobs.passes} sampling steps"] if knobs.passes > 1 else []
        sizes = f"width {knobs.transformer_width}, depth {knobs.transformer_layers}"
        return [f"transformer of {sizes}", *passes]
    if isinstance(knobs, Adversarial):
        return [f"networks of up to {knobs.gan_channels} channels"]
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
    return said


def reference(plan: Plan, dataset: str) -> str:
    """The training images that samples of a dataset's models are compared with."""
    there = plan.datasets[dataset].images
    wanted = plan.reference_images or there
    return f"the first {wanted:,} of {there:,}" if wanted < there else f"all {there:,}"
