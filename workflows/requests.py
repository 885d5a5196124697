"""What a job asks a cluster for, worked out from its cell's knobs before anything runs. No torch.

A time limit must not end a healthy training, and one that is far too long waits far too long. So
operations are counted by closed forms, which tests hold against torch's own counter, and divided by
the pace of a slow place; the rest is a generous factor, and it grows with every attempt. A training
that meets its limit all the same goes on from its checkpoint in the next attempt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Knobs = Mapping[str, Any]

# A pass forward and one backward, which is two of them.
TRAINING = 3
# Operations that a pass forward takes: of the small network a pixel (62 to 85 thousand), of the
# others a pixel or latent, block and squared channel (74 to 118, 109 to 125). Bytes that a pass
# keeps for the way back, in the same units. Numbers that are trained, a block and squared channel.
CONVNET_OPERATIONS, CONVNET_BYTES = 86_000, 430
VQGAN_OPERATIONS, VQGAN_BYTES, VQGAN_PARAMETERS = 120, 75, 70
UNET_OPERATIONS, UNET_BYTES, UNET_PARAMETERS = 127, 110, 95
# VGG16 of LPIPS, a pixel: 30.7 G operations at 224 pixels; of an image and its reconstruction.
PERCEPTUAL_OPERATIONS, PERCEPTUAL_BYTES = 612_000, 5_000
# VQGAN's widths by level, in units of the first, for each downsampling (models/vqgan.py).
MULTIPLES = {4: (1, 2, 4), 8: (1, 2, 2, 4), 16: (1, 1, 2, 2, 4)}
# Bytes of a parameter, its gradient, Adam's two moments, and an average.
STATE_BYTES = 4 * 5
# Imports, reading arrays, a busy file system: minutes. An interpreter with torch: megabytes.
START_MINUTES, START_MEGABYTES = 10, 2000
FACTOR = 2.0
# The variable that tells the processes of a run its setting `cells_per_gpu`.
CELLS_PER_GPU = "CODEBOOK_CELLS_PER_GPU"


@dataclass(frozen=True)
class Pace:
    """How fast a slow place is. operations: a second. step: seconds at least, however small the
    batch. images: that the networks behind the metrics take a second.
    """

    operations: float
    step: float
    images: float


# A core that others use too: a seventh of what one was measured to do. A GPU without TF32.
PROCESSOR = Pace(operations=2e10, step=0.02, images=5.0)
GPU = Pace(operations=4e12, step=0.05, images=50.0)


@dataclass(frozen=True)
class Images:
    """A dataset as estimates see it. train: without the validation split. side: in pixels."""

    train: int
    test: int
    side: int


def gpus_here(environment: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """How many GPUs jobs on this machine may use: those in CUDA_VISIBLE_DEVICES, or else all.

    devices: the folder of device files. This needs no torch, which Snakemake should not wait for.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(list(devices.glob("nvidia[0-9]*")))
    return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])


def _levels(widths: tuple[int, ...], power: int) -> float:
    """The sum of widths to a power, each level with a quarter of the places of the one before."""
    return sum(width**power / 4**level for level, width in enumerate(widths))


def _network_widths(knobs: Knobs) -> tuple[int, ...]:
    return tuple(knobs["network_channels"] * m for m in MULTIPLES[knobs["downsampling"]])


def autoencoder_operations(knobs: Knobs, side: int) -> float:
    """Of encoder and decoder, forward, for one image of `side` pixels a side."""
    if knobs.get("network", "convnet") == "convnet":
        return float(CONVNET_OPERATIONS * side**2)
    blocks, widths = knobs["network_blocks"], _network_widths(knobs)
    convolutions = VQGAN_OPERATIONS * side**2 * (blocks + 1) * _levels(widths, 2)
    # Every block of the lowest level attends, from each place to each, and so do both middles.
    places = (side // knobs["downsampling"]) ** 2
    return convolutions + (2 * blocks + 3) * 4 * places**2 * widths[-1]


def _unet_widths(knobs: Knobs) -> tuple[int, ...]:
    return tuple(knobs["unet_channels"] * m for m in knobs["unet_multipliers"])


def unet_operations(knobs: Knobs, side: int) -> float:
    """Of a diffusion model, forward, for a grid of `side` places a side."""
    return UNET_OPERATIONS * side**2 * (knobs["unet_blocks"] + 1) * _levels(_unet_widths(knobs), 2)


def grid_side(first_stage: Knobs | None, side: int) -> int:
    """Places a side that a diffusion model works on: an image's pixels, or its latents."""
    return side if first_stage is None else math.ceil(side / first_stage.get("downsampling", 4))


def activation_bytes(knobs: Knobs, side: int) -> float:
    """What a batch keeps for the way back. side: of an image, or of a diffusion model's grid."""
    if "unet_channels" in knobs:
        kept = UNET_BYTES * (knobs["unet_blocks"] + 1) * _levels(_unet_widths(knobs), 1)
    elif knobs.get("network", "convnet") == "convnet":
        kept = CONVNET_BYTES
    else:
        kept = VQGAN_BYTES * (knobs["network_blocks"] + 1) * _levels(_network_widths(knobs), 1)
        kept += PERCEPTUAL_BYTES
    return kept * side**2 * knobs["batch_size"]


def parameters(knobs: Knobs) -> float:
    """Numbers that are trained, from above; without the codebook, which is small."""
    if "unet_channels" in knobs:
        widths = _unet_widths(knobs)
        return UNET_PARAMETERS * (knobs["unet_blocks"] + 1) * sum(w * w for w in widths)
    if knobs.get("network", "convnet") == "convnet":
        return 1e6
    widths = _network_widths(knobs)
    return VQGAN_PARAMETERS * (knobs["network_blocks"] + 1) * sum(w * w for w in widths)


def training_bytes(knobs: Knobs, side: int, pace: Pace) -> float:
    """Memory of a training beside the interpreter: of the machine, whose GPU has its own."""
    if pace == GPU:
        return 2.5e9
    return STATE_BYTES * parameters(knobs) + activation_bytes(knobs, side)


def _seen(knobs: Knobs, images: Images) -> int:
    """Images that a training sees, epochs counted."""
    return int(knobs["epochs"] * min(knobs["train_images"] or images.train, images.train))


def training_seconds(knobs: Knobs, images: Images, pace: Pace) -> float:
    """Of training an autoencoder."""
    each = autoencoder_operations(knobs, images.side)
    if knobs.get("network") == "vqgan":
        each += 2 * PERCEPTUAL_OPERATIONS * images.side**2
    seen = _seen(knobs, images)
    return seen * TRAINING * each / pace.operations + seen / knobs["batch_size"] * pace.step


def diffusion_seconds(
    knobs: Knobs, first_stage: Knobs | None, images: Images, progress: int, pace: Pace
) -> float:
    """Of training a diffusion model. progress: how many points are sampled at each moment."""
    each = unet_operations(knobs, grid_side(first_stage, images.side))
    seen = _seen(knobs, images)
    # Sampled at five moments, in 20 steps (workflows/diffusion_training.py).
    work = seen * TRAINING * each + 5 * 20 * progress * each
    return work / pace.operations + seen / knobs["batch_size"] * pace.step


def evaluation_seconds(
    knobs: Knobs, images: Images, measured: int, protocols: int, pace: Pace
) -> float:
    """Of measuring an autoencoder. measured: test images behind rFID, KID and each LPIPS."""
    forward = images.test * autoencoder_operations(knobs, images.side) / pace.operations
    # SSIM goes through a pixel in some 5 microseconds.
    pixels = images.test * images.side**2 * 5e-6
    return forward + protocols * (pixels + 3 * measured / pace.images)


def sampling_seconds(
    knobs: Knobs, first_stage: Knobs | None, images: Images, progress: int, pace: Pace
) -> float:
    """Of making samples. progress: points of each moment of the training, which are decoded too."""
    passes = knobs["sampling_steps"] * (1 if knobs["guidance"] == 1 else 2)
    each = passes * unet_operations(knobs, grid_side(first_stage, images.side))
    decoded = autoencoder_operations(first_stage, images.side) if first_stage else 0.0
    work = knobs["samples"] * each + (knobs["samples"] + 5 * progress) * decoded
    return work / pace.operations


def minutes(seconds: float, attempt: int, most: float) -> int:
    """A time limit: never more than `most` minutes, at which a partition would refuse the job."""
    wanted = attempt * (START_MINUTES + FACTOR * seconds / 60)
    return max(1, math.floor(min(math.ceil(wanted), most)))


def megabytes(total_bytes: float, attempt: int) -> int:
    """Memory of a process that needs so many bytes beside the interpreter and its libraries."""
    return math.ceil(attempt * (START_MEGABYTES + 1.25 * total_bytes / 1e6))
