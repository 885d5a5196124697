"""Phrases about a plan: names of datasets and methods, lengths of training, sizes of networks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from workflows.config.plan import Plan
from workflows.knobs import Adversarial, Diffusion, Prior
from workflows.registry import code_dim, codebook_size
from workflows.render.numbers import span

METHODS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("methods.yaml").read_text(encoding="utf-8")
)


def short(plan: Plan, dataset: str, table: str | None = None) -> str:
    """Return a dataset's name in two or three words; `plan.dataset_title` returns the long name."""
    replaced = plan.stands_for(dataset, table)
    if replaced:
        return f"{plan.title_of(replaced).split(',')[0]} stand-in"
    return plan.title_of(dataset).split(",")[0]


def method_title(method: str) -> str:
    """Return a method's title in methods.yaml, or its name if the file lacks the method."""
    return METHODS.get(method, {"title": method})["title"]


def training_length(plan: Plan, cells: Iterable[str]) -> str:
    """Return how long cells train, as "2 to 4 epochs over 12,000 images at batch 16 or 64"."""
    cells = list(cells)
    epochs = {plan.knobs(cell).epochs for cell in cells}
    batch_sizes: dict[int, list[str]] = {}
    pairs = {(plan.cells[cell].images, plan.knobs(cell).batch_size) for cell in cells}
    for images, batch_size in sorted(pairs):
        batch_sizes.setdefault(images, []).append(f"{batch_size:,}")
    data = " or ".join(
        f"{images:,} images at batch {' or '.join(sizes)}" for images, sizes in batch_sizes.items()
    )
    return f"{span(epochs)} {'epoch' if epochs == {1} else 'epochs'} over {data}"


def training_sentences(plan: Plan, table: str, rows: Mapping[str, Collection[str]]) -> str:
    """Return a sentence for each dataset that describes how the rows of a table are trained.

    A description that holds for all rows names no row. rows: dataset -> the rows to describe.
    """
    sentences = []
    for dataset, described_rows in rows.items():
        descriptions: dict[str, list[str]] = {}
        for row, cells in plan.rows_of(table, dataset).items():
            if row in described_rows:
                descriptions.setdefault(describe_training(plan, cells[0]), []).append(row)
        parts = list(descriptions)
        if len(parts) > 1:
            parts = [f"{text} ({', '.join(names)})" for text, names in descriptions.items()]
        sentences.append(f"{short(plan, dataset, table)}: {'; '.join(parts)}.")
    return " ".join(sentences)


def describe_training(plan: Plan, cell: str) -> str:
    """Return a cell's length of training, its network, and the training of its first stage."""
    parts = [training_length(plan, [cell]), *_network(plan.knobs(cell))]
    first_stage = plan.cells[cell].first_stage
    if first_stage in plan.cells:
        parts.append(f"on a first stage of {describe_training(plan, first_stage)}")
    return ", ".join(parts)


def _network(knobs: Any) -> list[str]:
    """Return phrases on a network's size; none for the small autoencoder, which most tables use."""
    if isinstance(knobs, Diffusion):
        levels = ", ".join(str(factor) for factor in knobs.unet_multipliers)
        unet = f"U-Net of {knobs.unet_channels} channels times {levels}"
        guidance = [f"guidance {knobs.guidance:g}"] if knobs.guidance != 1 else []
        return [unet, f"{knobs.sampling_steps} sampling steps", *guidance]
    if isinstance(knobs, Prior):
        sizes = f"width {knobs.transformer_width}, depth {knobs.transformer_layers}"
        passes = [f"{knobs.passes} sampling steps"] if knobs.passes > 1 else []
        return [f"transformer of {sizes}", *passes]
    if isinstance(knobs, Adversarial):
        return [f"networks of up to {knobs.gan_channels} channels"]
    phrases = []
    if knobs.network == "vqgan":
        distance = {"vgg": "VGG16", "alex": "AlexNet"}[knobs.perceptual_network]
        phrases.append(
            f"VQGAN of {knobs.network_channels} channels, f = {knobs.downsampling}, with "
            f"{distance}'s LPIPS and a critic from step {knobs.adversarial_start:,}"
        )
    # The settings do not show the codebook of a method that derives its size.
    if "codebook_size" not in type(knobs).model_fields:
        codes = codebook_size(knobs)
        size = "no codebook, latents of" if codes is None else f"{codes:,} codes of"
        phrases.append(f"{size} {code_dim(knobs)} dimensions")
    return phrases


def reference_images(plan: Plan, dataset: str) -> str:
    """Return which training images the samples of a dataset's models are compared with."""
    available = plan.datasets[dataset].images
    compared = plan.reference_images or available
    return (
        f"the first {compared:,} of {available:,}" if compared < available else f"all {available:,}"
    )
