"""Goldens of methods: quantisers trained on their own, while clusters of latents come and go."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from baselines.vq_vae import MovingAverageQuantiser
from models.quantiser import anchors, refresh
from tests.goldens.golden import TRAINED, Golden, Wrong, made_with
from tests.goldens.made import corners, first_stage, slope, summary, uniform
from workflows.registry import build_autoencoder, loss_weights

STEPS = 45
# Clusters that there are at a time, of 24: large ones, of which the oldest goes every third step,
# and rare ones, which all go every second step. In a run as short as this, codes of rare clusters
# are those that die by averages as long as the methods have.
LARGE, LIFE, RARE_LATENTS = 6, 3, 36


def latents(step: int) -> Tensor:
    """512 of them, (8, 4, 8, 8), in clusters that are far apart, so that rounding gives none
    another code.
    """
    number = np.arange(512)
    large = number * 7 % LARGE + step // LIFE
    rare = number % 3 + LARGE + 2 + step // LIFE + 5 * (step // 2)
    cluster = np.where(number < RARE_LATENTS, rare, large) % 24
    vectors = corners()[cluster] + np.float32(0.3) * uniform(step, 512, 4)
    return torch.from_numpy(rearrange(vectors, "(b h w) d -> b d h w", b=8, h=8))


def codebook(quantiser: Any) -> Tensor:
    """Its codevectors as they are; MoVQ's are those of the quantiser in it."""
    holder = quantiser if hasattr(quantiser, "codebook") else quantiser.inner
    return holder.codebook.detach().clone()


def quantised(method: str, **changes: Any) -> dict[str, float]:
    """What a training of STEPS steps comes to, in the order of the loop.

    refreshes: steps in which `adapt` moved codevectors. path: how far all of them went by it.
    revived: how often it moved a code that no latent had, and the next step gave it some; counted
    from the third step, because at first most codes are dead.
    """
    knobs = first_stage(method, **changes)
    quantiser: Any = build_autoencoder(knobs, 1, STEPS).quantiser.train()
    parameters, weights = list(quantiser.parameters()), loss_weights(knobs, 1)
    optimiser = torch.optim.Adam(parameters, 0.05) if parameters else None
    replaced, path, refreshes, revived = torch.zeros(knobs.codebook_size).bool(), 0.0, 0, 0
    for step in range(STEPS):
        inputs = latents(step).requires_grad_()
        output = quantiser(inputs)
        loss = F.mse_loss(output.vectors, latents(step + 1))
        loss = loss + sum(weights[name] * value for name, value in output.losses.items())
        quantiser.zero_grad()
        loss.backward()
        before = codebook(quantiser)
        quantiser.adapt(output.assignment)
        apart = (codebook(quantiser) - before).norm(dim=1)
        used = torch.bincount(output.assignment.codes, minlength=len(apart)) > 0
        revived += int((used & replaced).sum()) if step > 1 else 0
        replaced = (apart > 1e-3) & ~used
        refreshes += int((apart > 1e-3).any())
        path += apart.sum().item()
        if optimiser:
            optimiser.step()
    losses = {name: value.item() for name, value in output.losses.items()}
    counts = {"codes used": int(used.sum()), "revived": revived, "refreshes": refreshes}
    sums = {"path": path, "slope": slope(inputs)}
    temperature = {"temperature": quantiser.temperature} if method == "sq_vae" else {}
    return {**losses, **counts, **sums, **summary(codebook(quantiser), "codebook"), **temperature}


def passed(method: str) -> dict[str, float]:
    """What passes a model that nothing trains, its losses and the slope that comes back."""
    knobs = first_stage(method)
    quantiser = build_autoencoder(knobs, 1, STEPS).quantiser
    inputs = latents(0).requires_grad_()
    output, weights = quantiser(inputs), loss_weights(knobs, 1)
    loss = F.mse_loss(output.vectors, latents(1))
    (loss + sum(weights[name] * value for name, value in output.losses.items())).backward()
    losses = {name: value.item() for name, value in output.losses.items()}
    return {**losses, "slope": slope(inputs), **summary(output.vectors, "vectors")}


def untrained(old: Any) -> Any:
    """Codevectors that losses do not train."""
    return lambda codes, codebook: old(codes, codebook.detach())


def swapped(old: Any) -> Any:
    """Positives for negatives."""
    return lambda latents, codebook, similarity: old(
        latents, codebook, lambda *sides: -similarity(*sides)
    )


def interleaved(old: Any) -> Any:
    """Groups of channels that are apart."""
    return lambda x, how, **sizes: old(x, how.replace("(g d)", "(d g)"), **sizes)


def anchors_are(other: str, sampler: str) -> Wrong:
    target = f"models.quantiser.anchors.{sampler}"
    return Wrong(f"anchors are {other}", target, lambda old: getattr(anchors, other))


Q = "models.quantiser"
UNTRAINED = Wrong("the codebook has no gradient", f"{Q}.clustered.F.embedding", untrained)
LENGTHS = Wrong("lengths count", f"{Q}.distances.F.normalize", lambda old: lambda x, dim: x)
FASTER = Wrong("decay is 0.9", "baselines.vq_vae.DECAY", lambda old: 0.9)
WARM = Wrong(
    "temperature stays", "baselines.sq_vae.StochasticQuantiser.temperature", lambda old: 1.0
)
ONCE = Wrong(
    "only the first batch refreshes", f"{Q}.refresh.every_step", lambda old: refresh.first_batch
)
ALWAYS = Wrong("every step refreshes", f"{Q}.refresh.first_batch", lambda old: refresh.every_step)
SWAPPED = Wrong("positives are negatives", f"{Q}.clustered.contrastive_term", swapped)
NO_LAG = Wrong("no code lags", "baselines.reinit.THRESHOLD", lambda old: 0.0)
NO_DEATH = Wrong("no code is dead", f"{Q}.blends.THRESHOLD", lambda old: 0.0)
OTHER_SEED = Wrong(
    "restarts are of another seed",
    "baselines.rq_vae.word",
    lambda old: lambda *stream: old(*stream) + 1,
)
APART = Wrong("channels of a group are apart", "baselines.movq.rearrange", interleaved)
MOVES = Wrong(
    "the codebook moves",
    "baselines.controls.RandomCodebook.adapt",
    lambda old: MovingAverageQuantiser.adapt,
)
AFTER = Wrong(
    "the refresh comes after backward",
    "baselines.controls.contrastive_term",
    lambda old: lambda latents, codebook, similarity: old(latents, codebook.clone(), similarity),
)
ROUNDED = Wrong(
    "latents are rounded",
    "baselines.controls.NoQuantiser.forward",
    lambda old: lambda self, latents: old(self, latents.round()),
)
STILL = Wrong("the matrix has no gradient", "baselines.simvq.F.embedding", untrained)
FOREVER = Wrong(
    "no code expires", "baselines.expiry.VectorQuantize", made_with(threshold_ema_dead_code=0)
)
STRAIGHT = Wrong(
    "gradients pass straight",
    "baselines.rotation_trick.rotate_to",
    lambda old: lambda latents, vectors: latents,
)
SOFT = Wrong("the chosen codevector has no gradient", "baselines.ibq.F.embedding", untrained)
UNSOLVED = Wrong("transport is not solved", "baselines.vq_wae.ITERATIONS", lambda old: 0)
FORGETS = Wrong("only the batch counts", "baselines.wasserstein_vq.QUEUE", lambda old: 1)
NO_MARGIN = Wrong("angles have no margin", "baselines.arcvq_vae.MARGIN", lambda old: 0.0)
STEEPER = Wrong(
    "the bound is steeper",
    "vector_quantize_pytorch.finite_scalar_quantization.tanh",
    lambda old: lambda latents: old(2 * latents),
)
UNCOMMITTED = Wrong(
    "there is no commitment", "baselines.lfq.LFQ", made_with(commitment_loss_weight=0.0)
)
CERTAIN = Wrong(
    "latents are not drawn", "baselines.kl_autoencoder.LOG_VARIANCE", lambda old: (-30.0, -30.0)
)
CUBE = Wrong("codes are not on the sphere", "baselines.lfq.LFQ", made_with(spherical=False))
COS: dict[str, Any] = {"distance": "cosine"}
GOLDENS = [
    Golden("method", method, partial(quantised, method, **changes), wrong, variant, TRAINED)
    for method, variant, changes, wrong in (
        ("vq_vae", "", {}, UNTRAINED),
        ("vq_vae", "cosine", COS, LENGTHS),
        ("vq_vae_ema", "", {}, FASTER),
        ("sq_vae", "", {}, WARM),
        ("cvq_vae", "online", COS, ONCE),
        ("cvq_vae", "offline", {"schedule": "offline"}, ALWAYS),
        ("cvq_vae", "random", {"anchors": "random"}, anchors_are("unique", "random")),
        ("cvq_vae", "unique", {**COS, "anchors": "unique"}, anchors_are("random", "unique")),
        ("cvq_vae", "probability", {}, anchors_are("random", "probability")),
        ("cvq_vae", "closest", {**COS, "anchors": "closest"}, anchors_are("random", "closest")),
        ("cvq_vae", "farthest", {**COS, "anchors": "farthest"}, anchors_are("closest", "farthest")),
        ("cvq_vae", "contrastive", {**COS, "contrastive": True}, SWAPPED),
        ("near_codevectors", "", COS, NO_LAG),
        ("hard_features", "", COS, NO_DEATH),
        ("rq_vae", "", {"codebook_size": 32}, OTHER_SEED),
        ("movq", "", {}, APART),
        ("simvq", "", {}, STILL),
        ("vq_vae_expiry", "", {}, FOREVER),
        ("vq_vae_rotation", "", {"expiry": 0.0}, STRAIGHT),
        ("cvq_vae_rotation", "", COS, STRAIGHT),
        ("ibq", "", {}, SOFT),
        ("vq_wae", "", {}, UNSOLVED),
        ("wasserstein_vq", "", {}, FORGETS),
        ("arcvq_vae", "", {}, NO_MARGIN),
        ("random_codebook", "", COS, MOVES),
        ("official_order", "", COS, AFTER),
        ("variance_times_4", "", {}, anchors_are("random", "probability")),
    )
]
GOLDENS += [
    Golden("method", method, partial(passed, method), wrong)
    for method, wrong in (
        ("autoencoder", ROUNDED),
        ("kl_autoencoder", CERTAIN),
        ("fsq", STEEPER),
        ("lfq", UNCOMMITTED),
        ("bsq", CUBE),
    )
]
