"""Goldens of diffusion models, of their network and training, and of sampling."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation import spaces
from models.generation.diffusion import Process, denoised
from models.generation.interface import draw_each
from tests.goldens.golden import TRAINED, Golden, Numbers, Wrong, made_with
from tests.goldens.made import (
    CPU,
    average_of,
    first_stage,
    generative,
    inputs,
    kept_by,
    learned,
    pictures,
    slope,
    summary,
    uniform,
)
from workflows.generators import GENERATORS, build_generator, build_space, diffusion_process
from workflows.registry import build_autoencoder
from workflows.training import sampling, stage2
from workflows.training.spaces import write_latents

CLASSES, DIFFUSION = 3, generative("diffusion")


class Predicted(nn.Module):
    """Stands in for the network: noise by a formula of points, times and labels."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process

    def forward(self, points: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * points.sin() + (times / 50 + 0.2 * labels)[:, None, None, None]

    def sample(self, shape: Any, labels: Any, streams: Any, quick: bool) -> Tensor:
        start = draw_each(shape, streams)
        return denoised(self, CLASSES, self.process, start, labels, streams)


def points(*shape: int) -> Tensor:
    """Of deviation one."""
    return torch.from_numpy(uniform(0, *shape) * np.float32(12**0.5))


def samples(method: str, numbers: list[int], *shape: int) -> Tensor:
    """Guided, with noise on their way."""
    knobs = generative("diffusion", method=method)
    model = Predicted(diffusion_process(knobs))
    return sampling.sample_points(model, knobs, shape, CLASSES, numbers, CPU)


def converted(method: str, *shape: int) -> Numbers:
    """Images as points, samples, which the method may clip on their way, and those as images."""
    autoencoder = build_autoencoder(first_stage("vq_vae"), 3, 1)
    space = build_space(GENERATORS[method].points, autoencoder, 3.0)
    sampled_points = samples(method, [0, 1], *shape)
    images = sampling.to_images(space, sampled_points, CPU)
    encoded = space.encode(inputs(2, 3, 16))
    return {
        **summary(encoded, "points"),
        **summary(sampled_points, "samples"),
        **summary(images, "images"),
    }


def encoded() -> Numbers:
    """Latents of the training images as they are written to a file, and their scale."""
    knobs = first_stage("vq_vae")
    trained: Any = SimpleNamespace(model=build_autoencoder(knobs, 3, 1))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "latents")
        written = write_latents(file, "latents", trained, pictures(6, 3, 16), {"model": ""}, CPU)
        latents = torch.from_numpy(np.array(written.points))
    return {"scale": written.scale, **summary(latents, "latents")}


def predicted() -> Numbers:
    """The network's noise as it is drawn, for a grid of odd sides, and its slope."""
    network = build_generator(DIFFUSION, (4, 7, 7), CLASSES, None)
    times, labels = torch.tensor([0, 10, 49]), torch.tensor([0, 2, CLASSES])
    noise = network(points(3, 4, 7, 7), times, labels)
    noise.square().mean().backward()
    return {**summary(noise, "noise"), "slope": slope(*network.parameters())}


def trained() -> Numbers:
    """Losses, averaged weights and samples along a training of six steps."""
    network = build_generator(DIFFUSION, (2, 4, 4), CLASSES, None)
    data = stage2.Points(points(10, 2, 4, 4).numpy(), np.arange(10) % CLASSES, CLASSES)
    learner, losses = learned(network, DIFFUSION, data)
    averages = summary(average_of(learner), "average")
    return {"loss": losses, **averages, **summary(kept_by(learner), "samples")}


def sampled() -> Numbers:
    sampled_points = samples("ldm", [0, 1, 5], 2, 3, 3)
    return {"first": sampled_points[:, 0, 0, 0].tolist(), **summary(sampled_points, "samples")}


def not_snapped(old: Any) -> Any:
    def decode(self: spaces.LatentSpace, points: Tensor) -> Tensor:
        return self.autoencoder.decoder(points / self.scale)

    return decode


UNSNAPPED = Wrong(
    "latents are not snapped", "models.generation.spaces.LatentSpace.decode", not_snapped
)
OVER_N = Wrong(
    "the deviation is over N",
    "workflows.training.spaces.deviation",
    lambda old: lambda points: old(points) * (1 - 1 / points.size) ** 0.5,
)
SCHEDULER = "models.generation.diffusion.DDIMScheduler"
UNCLIPPED = Wrong("samples are not clipped", SCHEDULER, made_with(clip_sample=False))
PADDED = Wrong(
    "grids are padded with ones",
    "models.generation.diffusion.F",
    lambda old: SimpleNamespace(pad=partial(F.pad, value=1.0)),
)
LOOP = Wrong(
    "every step draws the same",
    "workflows.training.stage2.generator",
    lambda old: lambda seed, purpose, step: old(seed, purpose, 1),
)
SAMPLER = Wrong("times begin at nought", SCHEDULER, made_with(steps_offset=0))
GOLDENS = [
    Golden("generator", "ldm", partial(converted, "ldm", 4, 4, 4), UNSNAPPED),
    Golden("generator", "ldm", encoded, OVER_N, "latents"),
    Golden("generator", "ddpm", partial(converted, "ddpm", 3, 16, 16), UNCLIPPED),
    Golden("backbone", "U-Net", predicted, PADDED),
    Golden("generation loop", "training", trained, LOOP, tolerance=TRAINED),
    Golden("sampler", "DDIM", sampled, SAMPLER),
]
