"""Operations and memory of the real networks, counted by torch for a few images.

Networks are built on torch's meta device, which has shapes and no numbers, so that one of 400
million parameters takes no memory. Quantisers, whose steps depend on numbers, are counted on the
processor at a small size: their operations are products of latents and codevectors, proportional to
N K D.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from workflows.metrics.inception import Inception
from workflows.metrics.inception import empty as empty_inception
from workflows.metrics.perceptual import Perceptual
from workflows.metrics.perceptual import empty as empty_lpips
from workflows.probe import saved, state_bytes, storage_of
from workflows.registry import (
    METHODS,
    build_adversary,
    build_autoencoder,
    build_backbone,
    build_objective,
    network_of,
)

META = torch.device("meta")
FLOAT = 4  # bytes
# Of a network whose weights are trained: the way back, to inputs and to weights, is twice the way
# forward. A test holds it against torch's count of both ways; counting both takes thrice as long.
STEP = 3
# Size at which quantisers are counted: latents, codes and coordinates.
LATENTS, CODES, COORDINATES = 64, 64, 8
# Knobs of quantisers that change how much they compute; each method takes some of them.
QUANTISER = ("method", "distance", "anchors", "schedule", "contrastive")


@dataclass(frozen=True)
class Network:
    """forward: operations of an image one way. step: of an image of a training step, both ways.

    parameters: numbers. copies: bytes of all that training keeps of them. activations: bytes that
    an image keeps for the way back. widest: bytes that the largest layer reads and writes for an
    image.
    """

    forward: float
    step: float
    parameters: int
    copies: int
    activations: int
    widest: int


@dataclass(frozen=True)
class Autoencoder:
    """Without its quantiser. encoder: operations of an image one way. whole: with the critic.

    silent: operations of a step while the critic does not count yet. latents: of an image.
    """

    encoder: float
    whole: Network
    silent: float
    latents: int


@dataclass(frozen=True)
class Quantiser:
    """Of an image. pairs: of a latent and a codevector that are compared. operations: forward.

    step: operations forward, backward and of `adapt`. activations: bytes kept for the way back.
    """

    pairs: float
    operations: float
    step: float
    activations: float


class _Anywhere(AbstractContextManager[Any]):
    """In place of what tells the counter which module runs, and trips over frozen inputs."""

    parents = frozenset({"Global"})

    def __exit__(self, *_: object) -> None:
        """Nothing to leave."""


class Counter(FlopCounterMode):
    """torch's count of floating-point operations, products and sums, without a table of modules."""

    def __init__(self) -> None:
        """Begin at nought."""
        super().__init__(display=False)
        self.mod_tracker = _Anywhere()  # type: ignore[assignment]

    @property
    def total(self) -> float:
        """Operations so far."""
        return float(self.get_total_flops())


@contextmanager
def _widest(*networks: nn.Module) -> Iterator[list[int]]:
    """Bytes that each layer that runs reads and writes; the first of them is nought."""
    sizes = [0]

    def note(_: nn.Module, inputs: Any, output: Any) -> None:
        tensors = [one for one in (*inputs, output) if isinstance(one, Tensor)]
        sizes.append(FLOAT * sum(one.numel() for one in tensors))

    leaves = [
        module for network in networks for module in network.modules()
        if not list(module.children())
    ]  # fmt: skip
    handles = [module.register_forward_hook(note) for module in leaves]
    yield sizes
    for handle in handles:
        handle.remove()


def _size(*networks: nn.Module) -> int:
    return sum(p.numel() for network in networks for p in network.parameters() if p.requires_grad)


def autoencoder(knobs: Mapping[str, Any], channels: int, side: int) -> Autoencoder:
    """Of a first-stage cell on images of so many channels and pixels a side.

    The step is the training step's: with VQGAN's network also its perceptual distance and critic.
    """
    relevant = (
        "network", "downsampling", "network_channels", "network_blocks", "code_dim",
        "perceptual_network", "perceptual_weight", "adversarial_weight",
    )  # fmt: skip
    chosen = tuple((key, knobs[key]) for key in relevant if key in knobs)
    # MoVQ's decoder is another; SQ-VAE's reconstruction term costs what others' do.
    kind = "movq" if knobs["method"] == "movq" else "vq_vae"
    return _autoencoder(chosen, kind, channels, side)


@cache
def _autoencoder(
    chosen: tuple[tuple[str, Any], ...], method: str, channels: int, side: int
) -> Autoencoder:
    # A small codebook: the quantiser is counted on its own.
    knobs: dict[str, Any] = {
        "method": method, "codebook_size": 8, "distance": "l2", "seed": 0, "channel_groups": 1,
        "sq_initial_variance": 1.0, "sq_final_temperature": 0.5, "adversarial_start": 0,
        "learning_rate": 1.0, **dict(chosen),
    }  # fmt: skip
    with META:
        model = build_autoencoder(knobs, channels, 1)
        images = torch.empty(1, channels, side, side)
        perceptual = None
        if network_of(knobs) == "vqgan":
            perceptual = Perceptual(empty_lpips(knobs["perceptual_network"]))
            perceptual = perceptual.to("meta").requires_grad_(False)
        objective = build_objective(knobs, 1.0, perceptual)
    with _widest(model.encoder, model.decoder) as sizes, Counter() as counter:

        def reconstructed() -> Tensor:
            latents = model.encoder(images)
            marks.append(counter.total)
            output = model.decoder(latents)
            marks.append(counter.total)
            kept.append(output.detach().requires_grad_())
            return objective(output, images)

        marks: list[float] = []
        kept: list[Tensor] = []
        _, activations = saved(reconstructed, _storages(model.encoder, model.decoder))
    term = counter.total - marks[1]
    with Counter() as both:
        objective(kept[0], images).backward()
    silent = STEP * marks[1] + both.total
    encoder_side = model.encoder(images).shape[2:].numel()
    critic = _critic(knobs, channels, images, kept[0].detach(), objective)
    size = _size(model.encoder, model.decoder) + critic.parameters
    return Autoencoder(
        marks[0],
        Network(
            marks[1],
            silent + max(0, critic.step - term),
            size,
            state_bytes(size),
            activations + critic.activations,
            max(sizes),
        ),
        silent,
        encoder_side,
    )


def _storages(*networks: nn.Module) -> set[int]:
    return {storage_of(p) for network in networks for p in network.parameters()}


def _critic(
    knobs: dict[str, Any], channels: int, images: Tensor, made: Tensor, objective: Any
) -> Network:
    """What a critic adds to a step, and once the reconstruction term forward."""
    adversary = build_adversary(knobs, channels)
    if adversary is None:
        return Network(0, 0, 0, 0, 0, 0)
    # Its optimiser, the fused Adam, knows no meta device, so it is moved there afterwards.
    adversary.critic.to(META)
    # In place of the decoder's last layer, where its pull is compared with the others'.
    layer = torch.ones((), device=META, requires_grad=True)
    with Counter() as counter:
        output = made * layer
        others = objective(output, images)
        term, activations = saved(
            lambda: adversary(output, others, layer), _storages(adversary.critic)
        )
        term.backward()
        adversary.adapt(images, made)
    size = _size(adversary.critic)
    return Network(0, counter.total, size, state_bytes(size), activations, 0)


def quantiser(knobs: Mapping[str, Any], latents: int) -> Quantiser:
    """Of a first-stage cell, an image of which has so many latents."""
    groups = knobs.get("channel_groups", 1) if knobs["method"] == "movq" else 1
    depth = knobs.get("residual_depth", 1) if knobs["method"] == "rq_vae" else 1
    pairs = latents * groups * depth * knobs["codebook_size"]
    found = _quantiser(tuple((key, knobs[key]) for key in QUANTISER if key in knobs))
    width = knobs["code_dim"] / groups
    return Quantiser(
        pairs, found.operations * pairs * width, found.step * pairs * width,
        found.activations * pairs,
    )  # fmt: skip


@cache
def _quantiser(chosen: tuple[tuple[str, Any], ...]) -> Quantiser:
    """Of a pair, operations divided by the coordinates."""
    knobs = {
        **dict(chosen), "code_dim": COORDINATES, "commitment_weight": 1.0, "seed": 0,
        "sq_initial_variance": 1.0, "sq_final_temperature": 0.5, "residual_depth": 1,
        "channel_groups": 1,
    }  # fmt: skip
    side = int(LATENTS**0.5)

    def step(codes: int, adapt: bool = True) -> Tensor:
        module = METHODS[knobs["method"]].build({**knobs, "codebook_size": codes}, 1)
        latents = torch.randn(1, COORDINATES, side, side, requires_grad=True)
        found = module(latents)
        if adapt:
            module.adapt(found.assignment)
        return found.vectors.sum() + sum(value.sum() for value in found.losses.values())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with Counter() as both:
            step(CODES).backward()
        with torch.no_grad(), Counter() as forward:
            step(CODES, adapt=False)
        # What twice the codes keep beyond what the codes do.
        _, once = saved(lambda: step(CODES, adapt=False), set())
        _, twice = saved(lambda: step(2 * CODES, adapt=False), set())
    pairs = LATENTS * CODES
    return Quantiser(
        1, forward.total / pairs / COORDINATES, both.total / pairs / COORDINATES,
        max(0, twice - once) / pairs,
    )  # fmt: skip


def backbone(knobs: Mapping[str, Any], channels: int, side: int, classes: int | None) -> Network:
    """Of a diffusion model on points of so many channels and a side."""
    relevant = (
        "unet_channels", "unet_multipliers", "unet_blocks", "attention_levels", "head_channels",
        "conditional",
    )  # fmt: skip
    chosen = tuple(
        (key, tuple(value) if isinstance(value, list) else value)
        for key, value in ((key, knobs[key]) for key in relevant)
    )
    return _backbone(chosen, channels, side, classes)


@cache
def _backbone(
    chosen: tuple[tuple[str, Any], ...], channels: int, side: int, classes: int | None
) -> Network:
    knobs = {**dict(chosen), "seed": 0}
    with META:
        model = build_backbone(knobs, channels, classes)

    def forward() -> Tensor:
        times = torch.zeros(1, dtype=torch.long, device=META)
        points = torch.empty(1, channels, side, side, device=META)
        output = model(points, times, times if knobs["conditional"] else None)
        marks.append(counter.total)
        return output.square().mean()

    marks: list[float] = []
    with _widest(model) as sizes, Counter() as counter:
        _, activations = saved(forward, _storages(model))
    size = _size(model)
    copies = state_bytes(size, averaged=True)
    return Network(marks[0], STEP * marks[0], size, copies, activations, max(sizes))


@cache
def metric(name: str, side: int) -> Network:
    """A metric network one way: "inception", or "vgg" or "alex" for a pair of pictures."""
    with META:
        inception = name == "inception"
        network = (
            Inception(empty_inception()) if inception else Perceptual(empty_lpips(name)).to("meta")
        )
        images = torch.empty(1, 3, side, side)

    with torch.no_grad(), _widest(network) as sizes, Counter() as counter:
        network(*([images] if name == "inception" else [images, images]))
    size = _size(network)
    return Network(counter.total, 0, size, FLOAT * size, 0, max(sizes))
