"""The quantiser alone: forward, backward and adapt at the published batch, one thread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize

from benchmarks.measure import Row, Work, ratio, side_by_side
from benchmarks.plain import PlainQuantiser
from models.quantiser import anchors
from models.quantiser.blends import UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import cosine
from models.quantiser.refresh import Refresh, every_step

IMAGES, SIDE, CODES, WIDTH = 1024, 8, 512, 64
BATCHES = 7
WORK = "quantiser, closest anchors, cosine, N = 65,536, K = 512, D = 64"


def ours(contrastive: bool = False) -> ClusteredQuantiser:
    refresh = Refresh(anchors.closest, UsageDecay(CODES), every_step)
    return ClusteredQuantiser(CODES, WIDTH, cosine, refresh, contrastive)


def library() -> torch.nn.Module:
    return VectorQuantize(
        WIDTH, CODES, use_cosine_sim=True, threshold_ema_dead_code=2, accept_image_fmap=True
    )


def batch(seed: int) -> Tensor:
    """Return latents as the encoder does: (1024, 64, 8, 8), channels last."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(IMAGES, WIDTH, SIDE, SIDE, generator=generator)
    return latents.contiguous(memory_format=torch.channels_last)


def run(quantiser: Any, latents: Tensor, upstream: Tensor) -> None:
    """Run a step of our quantiser or the plain one. upstream: the decoder's gradient."""
    output = quantiser(latents.detach().requires_grad_())
    losses = output.losses
    loss = 0.25 * losses["commitment"] + losses["codebook"] + losses.get("contrastive", 0)
    torch.autograd.backward([output.vectors, loss], [upstream, None])
    quantiser.adapt(output.assignment)
    quantiser.codebook.grad = None


def run_library(quantiser: torch.nn.Module, latents: Tensor, upstream: Tensor) -> None:
    vectors, _, loss = quantiser(latents.detach().requires_grad_())
    torch.autograd.backward([vectors, loss.sum()], [upstream, None])


def side(run: Callable[[Any, Tensor, Tensor], None], build: Callable[[], Any]) -> Work:
    """Return a step on the next batch. Early steps of a new codebook need every anchor."""
    torch.set_flush_denormal(True)
    quantiser, upstream = build(), torch.ones_like(batch(0))
    batches = itertools.cycle([batch(seed) for seed in range(BATCHES)])
    return lambda: run(quantiser, next(batches), upstream)


def rows() -> Iterator[Row]:
    for contrastive, note, goal, rounds in ((False, "", 25, 5), (True, ", contrastive", 12, 3)):
        theirs = partial(side, run, partial(PlainQuantiser, CODES, WIDTH, contrastive))
        mine = partial(side, run, partial(ours, contrastive))
        seconds = side_by_side(theirs, mine, rounds)
        yield ratio(seconds, WORK + note, "plain restatement", goal)
    seconds = side_by_side(partial(side, run_library, library), partial(side, run, ours), rounds=5)
    yield ratio(seconds, WORK, "vector-quantize-pytorch, cosine EMA with expiry", 4)
