"""Goldens of networks, of objectives and of the training loop of stage 1."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models import convnet, vqgan
from tests.goldens.golden import TRAINED, Golden, Numbers, Wrong
from tests.goldens.made import CPU, first_stage, inputs, pictures, slope, summary, uniform
from workflows.registry import (
    build_adversary,
    build_autoencoder,
    build_objective,
    build_optimiser,
    loss_weights,
)
from workflows.training import frozen
from workflows.training import stage1 as training
from workflows.training.spaces import Latents, Trained

VARIANCE = 0.08
# Adam's first steps follow the signs of gradients, also of those that are nearly nought, and what
# the critic has learned by them decides how much its term weighs.
TAUGHT = (3e-3, 1e-5)


def knobs_of(method: str, network: str, **changes: Any) -> Any:
    return first_stage(method, network=network, **changes)


def drawn(method: str, network: str) -> Numbers:
    """Latents and images of encoder and decoder as they are drawn, and their slopes."""
    model = build_autoencoder(knobs_of(method, network), 3, 1)
    latents = model.encoder(inputs(2, 3, 16))
    images = model.decoder(latents)
    images.square().mean().backward()
    halves = {"encoder": model.encoder, "decoder": model.decoder}
    slopes = {f"{half} slope": slope(*part.parameters()) for half, part in halves.items()}
    return {**summary(latents, "latents"), **summary(images, "images"), **slopes}


def distance(images: Tensor, output: Tensor) -> Tensor:
    """Stands in for LPIPS, and wants three channels."""
    return (images - output).square().mean(dim=(2, 3)) @ torch.tensor([1.0, 2.0, 3.0])


def objective(method: str, network: str) -> Numbers:
    """Its value and slope on grey images, and the weights of the losses beside it."""
    knobs, images = knobs_of(method, network), inputs(3, 1, 8)
    output = (0.7 * images + 0.1).requires_grad_()
    value = build_objective(knobs, VARIANCE, distance)(output, images)
    value.backward()
    weights = {f"weight of {term}": weight for term, weight in loss_weights(knobs, 64).items()}
    return {"value": value.item(), "slope": slope(output), **weights}


def trained(count: int, side: int, method: str, network: str, **changes: Any) -> Numbers:
    """What a training of stage 1 records and leaves, the last batch of an epoch a short one."""
    knobs, images = knobs_of(method, network, **changes), pictures(count + 4, 1, side)
    steps = knobs.epochs * training.steps_per_epoch(count, knobs.batch_size)
    model, adversary = build_autoencoder(knobs, 1, steps), build_adversary(knobs, 1)
    objective = build_objective(knobs, VARIANCE, distance)
    history: list[dict[str, float]] = []
    losses = training.Losses(objective, loss_weights(knobs, side**2), adversary)
    training.train(
        training.Learner(model, build_optimiser(knobs, model), losses),
        training.Splits(images[:count], images[count:]),
        knobs,
        history,
        training.Observers(),
    )
    # A critic's lessons differ by rounding enough to give a latent another code.
    codes = ("usage", "perplexity") if adversary is None else ()
    columns = ("epoch", "step", "loss", "reconstruction", *codes)
    numbers: dict[str, Any] = {name: [record[name] for record in history] for name in columns}
    for name, part in {"model": model, "critic": adversary}.items():
        if part is not None:
            weights = torch.cat([weight.flatten() for weight in part.parameters()])
            numbers |= summary(weights, name)
    return numbers


def trained_on_latents() -> Numbers:
    """What a training of a quantiser between frozen networks records and leaves."""
    autoencoder: Any = build_autoencoder(knobs_of("autoencoder", "convnet"), 1, 1)
    record: Any = SimpleNamespace(channels=1)
    knobs = knobs_of("cvq_vae", "frozen", first_stage="made_up/autoencoder/default/seed0")
    points, images = uniform(5, 20, 4, 2, 2), pictures(4, 1, 8)
    learner = frozen.build_learner(knobs, Trained(autoencoder, knobs, record), 1, CPU)
    history: list[dict[str, float]] = []
    frozen.train(learner, Latents(4 * points, 4.0), images, knobs, history, training.Observers())
    columns = ("step", "loss", "reconstruction")
    codebook = learner.model.get_submodule("quantiser").codebook
    numbers = {name: [record[name] for record in history] for name in columns}
    return {**numbers, **summary(codebook, "codebook")}


def carries_x(old: Any) -> Any:
    def forward(self: convnet.ResidualBlock, x: Tensor) -> Tensor:
        return x + self.widen(F.relu(self.narrow(F.relu(x))))

    return forward


def modulated_by_nothing(old: Any) -> Any:
    def forward(self: vqgan.VqganDecoder, vectors: Tensor) -> Tensor:
        return self.blocks(self.enter(vectors), torch.zeros_like(vectors))

    return forward


DECODER, ADAPT = "models.vqgan.VqganDecoder.forward", "models.adversary.Adversary.adapt"
OBJECTIVES = "models.objectives"
SKIP = Wrong("the skip carries x", "models.convnet.ResidualBlock.forward", carries_x)
GROUPED = Wrong("two channels a group", "models.vqgan.GROUPS", lambda old: 16)
UNMODULATED = Wrong("the decoder is modulated by nothing", DECODER, modulated_by_nothing)
VARIED = Wrong(
    "variance is of [-1, 1]",
    f"{OBJECTIVES}.mse_over_variance",
    lambda old: lambda variance: old(4 * variance),
)
UNVARIED = Wrong(
    "variance is of [0, 1]",
    f"{OBJECTIVES}.mse_over_variance",
    lambda old: lambda variance: old(variance / 4),
)
BASE_2 = Wrong("logarithm of base 2", f"{OBJECTIVES}.torch.log", lambda old: torch.log2)
UNPERCEIVED = Wrong(
    "no perceptual distance",
    f"{OBJECTIVES}.with_perceptual",
    lambda old: lambda base, *others: base,
)
OF_AN_IMAGE = Wrong(
    "likelihood is of an image",
    f"{OBJECTIVES}.log_likelihood",
    lambda old: lambda output, images: 64 * old(output, images),
)
CRITIC = Wrong(
    "the critic learns nothing", ADAPT, lambda old: lambda self, *pair: self.steps.add_(1)
)
LOOP = Wrong(
    "the order of images ignores the epoch",
    "workflows.training.stage1.batches",
    lambda old: lambda images, size, seed, epoch: old(images, size, seed, 0),
)
GOLDENS = [
    Golden("network", network, partial(drawn, method, network), wrong, variant)
    for network, method, wrong, variant in (
        ("convnet", "vq_vae", SKIP, ""),
        ("vqgan", "vq_vae", GROUPED, ""),
        ("vqgan", "movq", UNMODULATED, "modulated"),
    )
]
GOLDENS += [
    Golden("objective", name, partial(objective, method, network), wrong)
    for name, method, network, wrong in (
        ("mse_over_variance", "vq_vae", "convnet", VARIED),
        ("mse_over_4_variances", "variance_times_4", "convnet", UNVARIED),
        ("log_mse", "sq_vae", "convnet", BASE_2),
        ("vqgan", "vq_vae", "vqgan", UNPERCEIVED),
        ("vqgan_log_likelihood", "sq_vae", "vqgan", OF_AN_IMAGE),
    )
]
# The critic counts in the last two of four steps.
SHORT = {"batch_size": 2, "epochs": 1, "learning_rate": 1e-4}
for name, method in (("vqgan", "vq_vae"), ("vqgan_log_likelihood", "sq_vae")):
    taught = partial(trained, 7, 32, method, "vqgan", **SHORT)
    GOLDENS.append(Golden("objective", name, taught, CRITIC, "critic", TAUGHT))
LOOPED = partial(trained, 20, 8, "cvq_vae", "convnet", anchors="random")
UNSCALED = Wrong(
    "latents have the variance of the file",
    "workflows.training.frozen.train_step",
    lambda old: lambda learner, latents: old(learner, 4 * latents),
)
GOLDENS += [Golden("network", "frozen", trained_on_latents, UNSCALED, tolerance=TRAINED)]
GOLDENS += [Golden("loop", "training", LOOPED, LOOP, tolerance=TRAINED)]
