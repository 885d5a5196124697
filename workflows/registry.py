"""The only map from a name in YAML to a callable.

Each builder imports what it needs when it is called, so a run loads its own method alone, and the
code fingerprint of a method's cells covers exactly the modules named in its builder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.autoencoder import Autoencoder
    from models.objectives import Objective

Knobs = Mapping[str, Any]


def _similarity(knobs: Knobs) -> Any:
    from models.quantiser import distances

    return {"cosine": distances.cosine, "l2": distances.squared_euclidean}[knobs["distance"]]


def _vq_vae(knobs: Knobs, steps: int) -> Any:
    from models.quantiser.clustered import ClusteredQuantiser

    return ClusteredQuantiser(knobs["codebook_size"], knobs["code_dim"], _similarity(knobs))


def _vq_vae_ema(knobs: Knobs, steps: int) -> Any:
    from baselines.vq_vae import MovingAverageQuantiser

    return MovingAverageQuantiser(knobs["codebook_size"], knobs["code_dim"], _similarity(knobs))


def _cvq_vae(knobs: Knobs, steps: int) -> Any:
    from models.quantiser import anchors
    from models.quantiser.blends import UsageDecay
    from models.quantiser.clustered import ClusteredQuantiser
    from models.quantiser.contrastive import ContrastiveTerm
    from models.quantiser.refresh import Refresh, every_step, first_batch

    sampler = {
        "random": anchors.random,
        "unique": anchors.unique,
        "probability": anchors.probability,
        "closest": anchors.closest,
    }[knobs["anchors"]]
    schedule = {"online": every_step, "offline": first_batch}[knobs["schedule"]]
    return ClusteredQuantiser(
        knobs["codebook_size"],
        knobs["code_dim"],
        _similarity(knobs),
        Refresh(sampler, UsageDecay(knobs["codebook_size"]), schedule, knobs["seed"]),
        ContrastiveTerm() if knobs["contrastive"] else None,
    )


def _near_codevectors(knobs: Knobs, steps: int) -> Any:
    from baselines.reinit import NearCodevectors
    from models.quantiser.clustered import ClusteredQuantiser

    refresh = NearCodevectors(knobs["codebook_size"], seed=knobs["seed"])
    return ClusteredQuantiser(
        knobs["codebook_size"], knobs["code_dim"], _similarity(knobs), refresh
    )


def _hard_features(knobs: Knobs, steps: int) -> Any:
    from models.quantiser import anchors
    from models.quantiser.blends import ReplaceDead
    from models.quantiser.clustered import ClusteredQuantiser
    from models.quantiser.refresh import Refresh, every_step

    blend = ReplaceDead(knobs["codebook_size"])
    refresh = Refresh(anchors.unique, blend, every_step, knobs["seed"])
    return ClusteredQuantiser(
        knobs["codebook_size"], knobs["code_dim"], _similarity(knobs), refresh
    )


def _sq_vae(knobs: Knobs, steps: int) -> Any:
    from baselines.sq_vae import StochasticQuantiser

    # The published variance is for D = 64; squared distances grow with the number of coordinates.
    variance = knobs["sq_initial_variance"] * knobs["code_dim"] / 64
    return StochasticQuantiser(
        knobs["codebook_size"],
        knobs["code_dim"],
        initial_log_variance=math.log(variance),
        temperature_decay=-math.log(knobs["sq_final_temperature"]) / steps,
        seed=knobs["seed"],
    )


def _rq_vae(knobs: Knobs, steps: int) -> Any:
    from baselines.rq_vae import ResidualQuantiser

    return ResidualQuantiser(
        knobs["codebook_size"], knobs["code_dim"], knobs["residual_depth"], knobs["seed"]
    )


def _movq(knobs: Knobs, steps: int) -> Any:
    from baselines.movq import MultichannelQuantiser
    from models.quantiser.clustered import ClusteredQuantiser

    groups = knobs["channel_groups"]
    inner = ClusteredQuantiser(
        knobs["codebook_size"], knobs["code_dim"] // groups, _similarity(knobs)
    )
    return MultichannelQuantiser(inner, groups)


METHODS: dict[str, Callable[[Knobs, int], Any]] = {
    "vq_vae": _vq_vae,
    "vq_vae_ema": _vq_vae_ema,
    "sq_vae": _sq_vae,
    "cvq_vae": _cvq_vae,
    "near_codevectors": _near_codevectors,
    "hard_features": _hard_features,
    "rq_vae": _rq_vae,
    "movq": _movq,
}


def _convnet(knobs: Knobs, channels: int) -> Any:
    from models.convnet import decoder, encoder

    return (
        lambda: encoder(channels, knobs["code_dim"]),
        lambda: decoder(channels, knobs["code_dim"]),
    )


def _vqgan(knobs: Knobs, channels: int) -> Any:
    from models.vqgan import VqganDecoder, encoder

    sizes = (knobs["downsampling"], knobs["network_channels"], knobs["network_blocks"])
    modulated = knobs["method"] == "movq"
    return (
        lambda: encoder(channels, knobs["code_dim"], *sizes),
        lambda: VqganDecoder(channels, knobs["code_dim"], *sizes, modulated),
    )


# Builders of an encoder and of its decoder.
NETWORKS: dict[str, Callable[[Knobs, int], Any]] = {"convnet": _convnet, "vqgan": _vqgan}


def network_of(knobs: Knobs) -> str:
    """The encoder and decoder of a cell; the small one where it does not say."""
    return knobs.get("network", "convnet")


def build_autoencoder(knobs: Knobs, channels: int, steps: int) -> Autoencoder:
    """The model of a cell, its weights drawn from the cell's seed.

    channels: of the images. steps: of the whole training, which SQ-VAE's annealing is scaled to.
    Encoder and decoder are drawn before the quantiser, each from its own seed, so that cells that
    differ only in the quantiser start from the same networks.
    """
    import torch

    from models.autoencoder import Autoencoder

    encoder, decoder = NETWORKS[network_of(knobs)](knobs, channels)
    parts = []
    for offset, build in enumerate(
        (encoder, decoder, lambda: METHODS[knobs["method"]](knobs, steps))
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(knobs["seed"] * 10 + offset)
            parts.append(build())
    return Autoencoder(parts[0], parts[2], parts[1])


def build_objective(knobs: Knobs, variance: float, perceptual: Any = None) -> Objective:
    """The reconstruction term of a cell.

    variance: of the training images in [0, 1]. perceptual: the distance that VQGAN trains with.
    """
    from models import objectives

    stochastic = knobs["method"] == "sq_vae"
    if network_of(knobs) == "vqgan":
        base = objectives.log_likelihood if stochastic else objectives.l1
        return objectives.with_perceptual(base, perceptual, knobs["perceptual_weight"])
    return objectives.log_mse if stochastic else objectives.mse_over_variance(variance)


def build_adversary(knobs: Knobs, channels: int) -> Any:
    """The critic that VQGAN trains against, its weights drawn from the cell's seed; else None."""
    if network_of(knobs) != "vqgan":
        return None
    import torch

    from models.adversary import Adversary

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(knobs["seed"] * 10 + 4)
        return Adversary(
            channels,
            knobs["adversarial_start"],
            knobs["adversarial_weight"],
            knobs["learning_rate"],
        )


def build_optimiser(knobs: Knobs, model: Any) -> Any:
    """Adam, with the momenta that each network was published with."""
    import torch

    betas = (0.5, 0.9) if network_of(knobs) == "vqgan" else (0.9, 0.999)
    return torch.optim.Adam(model.parameters(), knobs["learning_rate"], betas, fused=True)


def loss_weights(knobs: Knobs, values: int) -> dict[str, float]:
    """The weight of each of the quantiser's losses. values: of one image, c h w.

    SQ-VAE's are of a whole image; beside VQGAN's terms, which are of one value, they are divided.
    """
    share = 1 / values if network_of(knobs) == "vqgan" else 1.0
    return {
        "commitment": knobs["commitment_weight"],
        "codebook": knobs["codebook_weight"],
        "contrastive": knobs["contrastive_weight"],
        "discrete_kl": share,
        "continuous_kl": share,
    }


def _ldm(knobs: Knobs, first_stage: Autoencoder | None, scale: float) -> Any:
    from models.diffusion.spaces import LatentSpace

    if first_stage is None:
        raise ValueError("first_stage: a model of latents needs one")
    return LatentSpace(first_stage, scale)


def _ddpm(knobs: Knobs, first_stage: Autoencoder | None, scale: float) -> Any:
    from models.diffusion.spaces import PixelSpace

    return PixelSpace()


# Builders of the space that a diffusion model works on.
DIFFUSIONS: dict[str, Callable[[Knobs, Any, float], Any]] = {"ldm": _ldm, "ddpm": _ddpm}


def build_space(knobs: Knobs, first_stage: Autoencoder | None, scale: float) -> Any:
    """What a diffusion model's points are, with the way to images and back."""
    return DIFFUSIONS[knobs["method"]](knobs, first_stage, scale)


def build_backbone(knobs: Knobs, channels: int, classes: int | None) -> Any:
    """The network of a diffusion model, its weights drawn from the cell's seed.

    channels: of a point. classes: of the dataset; used by conditional models alone.
    """
    import torch

    from models.diffusion.backbone import Backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(knobs["seed"] * 10 + 3)
        return Backbone(
            channels,
            [knobs["unet_channels"] * multiplier for multiplier in knobs["unet_multipliers"]],
            knobs["unet_blocks"],
            knobs["attention_levels"],
            knobs["head_channels"],
            classes if knobs["conditional"] else None,
        )


def build_noise(knobs: Knobs) -> Any:
    """The schedule that adds noise in training: diffusers' DDPMScheduler."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(**_betas(knobs))


def build_sampler(knobs: Knobs) -> Any:
    """The DDIM sampler (Song et al. 2021) of diffusers, at its first time.

    Pixels are clipped to [-1, 1] on the way, latents are not. Times are those of the published
    implementation: every 1000 / steps, from one.
    """
    from diffusers import DDIMScheduler

    sampler: Any = DDIMScheduler(
        **_betas(knobs),
        clip_sample=knobs["method"] == "ddpm",
        set_alpha_to_one=False,
        steps_offset=1 if knobs["sampling_steps"] < knobs["noise_steps"] else 0,
    )
    sampler.set_timesteps(knobs["sampling_steps"])
    return sampler


def _betas(knobs: Knobs) -> dict[str, Any]:
    return {
        "num_train_timesteps": knobs["noise_steps"],
        "beta_schedule": knobs["noise_schedule"],
        "beta_start": knobs["noise_start"],
        "beta_end": knobs["noise_end"],
    }


def predict_noise(backbone: Any, points: Any, times: Any, labels: Any, guidance: float) -> Any:
    """The noise in points, with guidance."""
    from models.diffusion.backbone import with_guidance

    return with_guidance(backbone, points, times, labels, guidance)
