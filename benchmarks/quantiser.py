"""The quantiser alone: forward, backward and adapt at the published batch, one thread."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Row, Work, side_by_side
from benchmarks.plain import PlainQuantiser
from models.quantiser import anchors
from models.quantiser.blends import UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.contrastive import ContrastiveTerm
from models.quantiser.distances import cosine
from models.quantiser.refresh import Refresh, every_step
from workflows.allocator import KEEPS_MEMORY

IMAGES, SIDE, CODES, WIDTH = 1024, 8, 512, 64
BATCHES = 7
WORK = "quantiser, closest anchors, cosine, N = 65,536, K = 512, D = 64"


def ours(codebook_size: int = CODES, contrastive: bool = False) -> ClusteredQuantiser:
    refresh = Refresh(anchors.closest, UsageDecay(codebook_size), every_step)
    term = ContrastiveTerm() if contrastive else None
    return ClusteredQuantiser(codebook_size, WIDTH, cosine, refresh, term)


def batch(seed: int) -> Tensor:
    """Latents as the encoder leaves them: (1024, 64, 8, 8), channels last."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(IMAGES, WIDTH, SIDE, SIDE, generator=generator)
    return latents.contiguous(memory_format=torch.channels_last)


def run_ours(quantiser: ClusteredQuantiser, latents: Tensor, upstream: Tensor) -> None:
    output = quantiser(latents.detach().requires_grad_())
    descend(output.vectors, output.losses, upstream)
    quantiser.adapt(output.assignment)
    quantiser.codebook.grad = None


def run_plain(quantiser: PlainQuantiser, latents: Tensor, upstream: Tensor) -> None:
    seen = quantiser(latents.detach().requires_grad_())
    descend(seen.vectors, seen.losses, upstream)
    quantiser.refresh(seen)
    quantiser.codebook.grad = None


def descend(vectors: Tensor, losses: Mapping[str, Tensor], upstream: Tensor) -> None:
    """Backward from what a decoder would send and from the losses at their published weights."""
    loss = 0.25 * losses["commitment"] + losses["codebook"] + losses.get("contrastive", 0)
    torch.autograd.backward([vectors, loss], [upstream, None])


def run_library(quantiser: torch.nn.Module, latents: Tensor, upstream: Tensor) -> None:
    vectors, _, loss = quantiser(latents.detach().requires_grad_())
    torch.autograd.backward([vectors, loss.sum()], [upstream, None])


def side(turn: Callable[[Any, Tensor, Tensor], None], build: Callable[[], Any]) -> Work:
    """Over fresh batches, from an untrained codebook on: early steps need every anchor."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    quantiser, upstream = build(), torch.ones_like(batch(0))
    batches = itertools.cycle([batch(seed) for seed in range(BATCHES)])
    return lambda: turn(quantiser, next(batches), upstream)


def plain(contrastive: bool) -> PlainQuantiser:
    return PlainQuantiser(CODES, WIDTH, contrastive)


def library() -> torch.nn.Module:
    from vector_quantize_pytorch import VectorQuantize

    return VectorQuantize(
        WIDTH, CODES, use_cosine_sim=True, threshold_ema_dead_code=2, accept_image_fmap=True
    )


def rows() -> Iterator[Row]:
    """Four rows of the table."""
    restated = "plain restatement"
    peers = [
        (WORK, restated, partial(side, run_plain, partial(plain, False)), False, 25),
        (
            WORK,
            "vector-quantize-pytorch, cosine EMA with expiry",
            partial(side, run_library, library),
            False,
            4,
        ),
        (
            f"{WORK}, contrastive",
            restated,
            partial(side, run_plain, partial(plain, True)),
            True,
            12,
        ),
    ]
    for work, name, peer, contrastive, goal in peers:
        mine = partial(side, run_ours, partial(ours, CODES, contrastive))
        yield side_by_side(peer, mine, rounds=3 if contrastive else 5).row(work, name, goal)
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **KEEPS_MEMORY},
    )
    yield Row(
        "quantiser, K = 16,384, N = 65,536: peak extra memory",
        "the N x K matrix, 4,096 MiB",
        float(found.stdout),
        256,
        "MiB",
        at_most=True,
    )
