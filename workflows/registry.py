"""The only map from a name in YAML to a callable.

Beside every builder stand the knobs that it takes and its version. Results are known by versions:
whoever changes the numbers that something gives raises its version, and the cells that use it are
made again; moving, renaming or speeding up code changes no version (tests/goldens holds numbers
against them). Each builder imports what it needs when it is called, so a run loads its own method
alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Method:
    """A quantiser. build: of knobs and the steps of the whole training. knobs: those that it takes
    beside the ones of every training. version: raised when the numbers that it gives change.
    """

    build: Callable[[Knobs, int], Any]
    knobs: tuple[str, ...]
    version: int = 1


CODEBOOK = ("codebook_size", "code_dim")
NEAREST = (*CODEBOOK, "distance", "commitment_weight", "codebook_weight")
METHODS: dict[str, Method] = {
    "vq_vae": Method(_vq_vae, NEAREST),
    "vq_vae_ema": Method(_vq_vae_ema, (*CODEBOOK, "distance", "commitment_weight")),
    "sq_vae": Method(_sq_vae, (*CODEBOOK, "sq_initial_variance", "sq_final_temperature")),
    "cvq_vae": Method(
        _cvq_vae, (*NEAREST, "anchors", "schedule", "contrastive", "contrastive_weight")
    ),
    "near_codevectors": Method(_near_codevectors, NEAREST),
    "hard_features": Method(_hard_features, NEAREST),
    "rq_vae": Method(_rq_vae, (*CODEBOOK, "residual_depth", "commitment_weight")),
    "movq": Method(_movq, (*NEAREST, "channel_groups")),
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


@dataclass(frozen=True)
class Network:
    """An encoder and its decoder. build: of knobs and the images' channels, a builder of each.
    knobs, version: as of a method.
    """

    build: Callable[[Knobs, int], Any]
    knobs: tuple[str, ...]
    version: int = 1


NETWORKS: dict[str, Network] = {
    "convnet": Network(_convnet, ()),
    "vqgan": Network(
        _vqgan,
        (
            "downsampling",
            "network_channels",
            "network_blocks",
            "perceptual_weight",
            "perceptual_network",
            "adversarial_weight",
            "adversarial_start",
        ),
    ),
}

# What every training of stage 1 takes, and the version of its loop.
TRAINING_KNOBS = ("network", "epochs", "batch_size", "learning_rate", "precision", "train_images")
TRAINING = 1
# Name of an objective -> its version; VQGAN's are with its perceptual distance and its critic.
OBJECTIVES = {"mse_over_variance": 1, "log_mse": 1, "vqgan": 1, "vqgan_log_likelihood": 1}


def network_of(knobs: Knobs) -> str:
    """The encoder and decoder of a cell; the small one where it does not say."""
    return knobs.get("network", "convnet")


def knobs_taken(method: str, network: str) -> tuple[str, ...]:
    """The names of all knobs of a training of stage 1."""
    return (*TRAINING_KNOBS, *METHODS[method].knobs, *NETWORKS[network].knobs)


def objective_of(knobs: Knobs) -> str:
    """The name of the reconstruction term of a cell, one of OBJECTIVES."""
    stochastic = knobs["method"] == "sq_vae"
    if network_of(knobs) == "vqgan":
        return "vqgan_log_likelihood" if stochastic else "vqgan"
    return "log_mse" if stochastic else "mse_over_variance"


def training_versions(knobs: Knobs) -> dict[str, int]:
    """Part of a training -> its version, for the cell's record; of either stage."""
    if knobs["method"] in DIFFUSIONS:
        method = DIFFUSIONS[knobs["method"]]
        return {"method": method.version, "network": BACKBONE, "training": DIFFUSION_TRAINING}
    return {
        "method": METHODS[knobs["method"]].version,
        "network": NETWORKS[network_of(knobs)].version,
        "objective": OBJECTIVES[objective_of(knobs)],
        "training": TRAINING,
    }


def build_autoencoder(knobs: Knobs, channels: int, steps: int) -> Autoencoder:
    """The model of a cell, its weights drawn from the cell's seed.

    channels: of the images. steps: of the whole training, which SQ-VAE's annealing is scaled to.
    Encoder and decoder are drawn before the quantiser, each from its own seed, so that cells that
    differ only in the quantiser start from the same networks.
    """
    from models.autoencoder import Autoencoder
    from models.streams import Purpose

    encoder, decoder = NETWORKS[network_of(knobs)].build(knobs, channels)
    seed = knobs["seed"]
    return Autoencoder(
        encoder=_drawn(encoder, seed, Purpose.ENCODER),
        decoder=_drawn(decoder, seed, Purpose.DECODER),
        quantiser=_drawn(
            lambda: METHODS[knobs["method"]].build(knobs, steps), seed, Purpose.QUANTISER
        ),
    )


def _drawn(build: Callable[[], Any], seed: int, purpose: Any) -> Any:
    """What `build` gives with its weights drawn from a stream of their own."""
    import torch

    from models.streams import word

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(word(seed, purpose))
        return build()


def build_objective(knobs: Knobs, variance: float, perceptual: Any = None) -> Objective:
    """The reconstruction term of a cell.

    variance: of the training images in [0, 1]. perceptual: the distance that VQGAN trains with.
    """
    from models import objectives

    name = objective_of(knobs)
    if name == "mse_over_variance":
        return objectives.mse_over_variance(variance)
    if name == "log_mse":
        return objectives.log_mse
    base = objectives.log_likelihood if name == "vqgan_log_likelihood" else objectives.l1
    return objectives.with_perceptual(base, perceptual, knobs["perceptual_weight"])


def build_adversary(knobs: Knobs, channels: int) -> Any:
    """The critic that VQGAN trains against, its weights drawn from the cell's seed; else None."""
    if network_of(knobs) != "vqgan":
        return None
    from models.adversary import Adversary
    from models.streams import Purpose

    settings = (knobs["adversarial_start"], knobs["adversarial_weight"], knobs["learning_rate"])
    return _drawn(lambda: Adversary(channels, *settings), knobs["seed"], Purpose.CRITIC)


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
    terms = ("commitment", "codebook", "contrastive")
    weights = {name: knobs[f"{name}_weight"] for name in terms if f"{name}_weight" in knobs}
    return {**weights, "discrete_kl": share, "continuous_kl": share}


def _ldm(knobs: Knobs, first_stage: Autoencoder | None, scale: float) -> Any:
    from models.diffusion.spaces import LatentSpace

    if first_stage is None:
        raise ValueError("first_stage: a model of latents needs one")
    return LatentSpace(first_stage, scale)


def _ddpm(knobs: Knobs, first_stage: Autoencoder | None, scale: float) -> Any:
    from models.diffusion.spaces import PixelSpace

    return PixelSpace()


@dataclass(frozen=True)
class Diffusion:
    """A diffusion model. build: its space, of knobs, first stage and scale. version: as above."""

    build: Callable[[Knobs, Any, float], Any]
    version: int = 1


DIFFUSIONS: dict[str, Diffusion] = {"ldm": Diffusion(_ldm), "ddpm": Diffusion(_ddpm)}
# Versions of what all of them share: the U-Net, the training loop and sampling.
BACKBONE = 1
DIFFUSION_TRAINING = 1
SAMPLING = 1


def sampling_versions() -> dict[str, int]:
    """The same of what samples a diffusion model."""
    return {"sampling": SAMPLING}


def build_space(knobs: Knobs, first_stage: Autoencoder | None, scale: float) -> Any:
    """What a diffusion model's points are, with the way to images and back."""
    return DIFFUSIONS[knobs["method"]].build(knobs, first_stage, scale)


def build_backbone(knobs: Knobs, channels: int, classes: int | None) -> Any:
    """The network of a diffusion model, its weights drawn from the cell's seed.

    channels: of a point. classes: of the dataset; used by conditional models alone.
    """
    from models.diffusion.backbone import Backbone
    from models.streams import Purpose

    def build() -> Backbone:
        return Backbone(
            channels,
            [knobs["unet_channels"] * multiplier for multiplier in knobs["unet_multipliers"]],
            knobs["unet_blocks"],
            knobs["attention_levels"],
            knobs["head_channels"],
            classes if knobs["conditional"] else None,
        )

    return _drawn(build, knobs["seed"], Purpose.BACKBONE)


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
