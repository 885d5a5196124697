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
from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from workflows import plugins
from workflows.errors import ConfigError, nearest
from workflows.generators import GENERATION_TRAINING, GENERATORS
from workflows.knobs import (
    ArcMargin,
    Binary,
    Closed,
    Clustered,
    Continuous,
    Contrastive,
    Expiring,
    Finite,
    Frozen,
    GaussianMatched,
    Generative,
    IndexPropagated,
    MovingAverage,
    Multichannel,
    Nearest,
    Normal,
    Refreshed,
    Residual,
    Stochastic,
    Trained,
    Training,
    Transported,
    Vqgan,
)
from workflows.metrics import FEWEST_PIXELS

if TYPE_CHECKING:
    from models.autoencoder import Autoencoder
    from models.objectives import Objective


def _similarity(knobs: MovingAverage) -> Any:
    from models.quantiser import distances

    return {"cosine": distances.cosine, "l2": distances.squared_euclidean}[knobs.distance]


def _vq_vae(knobs: Nearest, steps: int, refresh: Any = None, contrastive: bool = False) -> Any:
    from models.quantiser.clustered import ClusteredQuantiser

    sizes = (knobs.codebook_size, knobs.code_dim)
    return ClusteredQuantiser(*sizes, _similarity(knobs), refresh, contrastive)


def _vq_vae_ema(knobs: MovingAverage, steps: int) -> Any:
    from baselines.vq_vae import MovingAverageQuantiser

    return MovingAverageQuantiser(knobs.codebook_size, knobs.code_dim, _similarity(knobs))


def _refresh(knobs: Refreshed) -> Any:
    from models.quantiser import anchors
    from models.quantiser.blends import UsageDecay
    from models.quantiser.refresh import Refresh, every_step, first_batch

    sampler = {
        "random": anchors.random,
        "unique": anchors.unique,
        "probability": anchors.probability,
        "closest": anchors.closest,
        "farthest": anchors.farthest,
    }[knobs.anchors]
    schedule = {"online": every_step, "offline": first_batch}[knobs.schedule]
    return Refresh(sampler, UsageDecay(knobs.codebook_size), schedule, knobs.seed)


def _cvq_vae(knobs: Clustered, steps: int) -> Any:
    return _vq_vae(knobs, steps, _refresh(knobs), knobs.contrastive)


def _near_codevectors(knobs: Nearest, steps: int) -> Any:
    from baselines.reinit import NearCodevectors

    return _vq_vae(knobs, steps, NearCodevectors(knobs.codebook_size, seed=knobs.seed))


def _hard_features(knobs: Nearest, steps: int) -> Any:
    from models.quantiser import anchors
    from models.quantiser.blends import ReplaceDead
    from models.quantiser.refresh import Refresh, every_step

    blend = ReplaceDead(knobs.codebook_size)
    return _vq_vae(knobs, steps, Refresh(anchors.unique, blend, every_step, knobs.seed))


def _sq_vae(knobs: Stochastic, steps: int) -> Any:
    from baselines.sq_vae import StochasticQuantiser

    # The published variance is for D = 64; squared distances grow with the number of coordinates.
    variance = knobs.sq_initial_variance * knobs.code_dim / 64
    return StochasticQuantiser(
        knobs.codebook_size,
        knobs.code_dim,
        initial_log_variance=math.log(variance),
        temperature_decay=-math.log(knobs.sq_final_temperature) / steps,
        seed=knobs.seed,
    )


def _rq_vae(knobs: Residual, steps: int) -> Any:
    from baselines.rq_vae import ResidualQuantiser

    return ResidualQuantiser(knobs.codebook_size, knobs.code_dim, knobs.residual_depth, knobs.seed)


def _movq(knobs: Multichannel, steps: int) -> Any:
    from baselines.movq import MultichannelQuantiser
    from models.quantiser.clustered import ClusteredQuantiser

    groups = knobs.channel_groups
    inner = ClusteredQuantiser(knobs.codebook_size, knobs.code_dim // groups, _similarity(knobs))
    return MultichannelQuantiser(inner, groups)


def _autoencoder(knobs: Continuous, steps: int) -> Any:
    from baselines.controls import NoQuantiser

    return NoQuantiser(knobs.code_dim)


def _kl_autoencoder(knobs: Normal, steps: int) -> Any:
    from baselines.kl_autoencoder import NormalLatents

    return NormalLatents(knobs.code_dim, knobs.seed)


def _random_codebook(knobs: MovingAverage, steps: int) -> Any:
    from baselines.controls import RandomCodebook

    return RandomCodebook(knobs.codebook_size, knobs.code_dim, _similarity(knobs))


def _official_order(knobs: Contrastive, steps: int) -> Any:
    from baselines.controls import OfficialOrder

    sizes = (knobs.codebook_size, knobs.code_dim)
    return OfficialOrder(*sizes, _similarity(knobs), _refresh(knobs))


def _fsq(knobs: Finite, steps: int) -> Any:
    from baselines.fsq import FiniteScalarQuantiser

    return FiniteScalarQuantiser(knobs.levels)


def _binary(knobs: Binary, steps: int, spherical: bool = False) -> Any:
    from baselines.lfq import LookupFreeQuantiser

    return LookupFreeQuantiser(knobs.code_bits, knobs.entropy_temperature, spherical)


def _simvq(knobs: Trained, steps: int) -> Any:
    from baselines.simvq import SimQuantiser

    return SimQuantiser(knobs.codebook_size, knobs.code_dim)


def _vq_vae_expiry(knobs: Expiring, steps: int) -> Any:
    from baselines.expiry import ExpiringQuantiser

    sizes = (knobs.codebook_size, knobs.code_dim)
    return ExpiringQuantiser(*sizes, knobs.decay, knobs.expiry, knobs.seed)


def _rotated(inner: Callable[[Any, int], Any], knobs: Training, steps: int) -> Any:
    from baselines.rotation_trick import RotatedQuantiser

    return RotatedQuantiser(inner(knobs, steps))


def _ibq(knobs: IndexPropagated, steps: int) -> Any:
    from baselines.ibq import IndexQuantiser

    return IndexQuantiser(knobs.codebook_size, knobs.code_dim, knobs.entropy_temperature)


def _vq_wae(knobs: Transported, steps: int) -> Any:
    from baselines.vq_wae import TransportQuantiser

    return TransportQuantiser(knobs.codebook_size, knobs.code_dim)


def _wasserstein_vq(knobs: GaussianMatched, steps: int) -> Any:
    from baselines.wasserstein_vq import GaussianMatchedQuantiser

    return GaussianMatchedQuantiser(knobs.codebook_size, knobs.code_dim)


def _arcvq_vae(knobs: ArcMargin, steps: int) -> Any:
    from baselines.arcvq_vae import ArcMarginQuantiser

    return ArcMarginQuantiser(knobs.codebook_size, knobs.code_dim)


@dataclass(frozen=True)
class Method:
    """A quantiser, and what it has.

    build: of the knobs and the number of steps of the whole training. knobs: the type of all knobs
    that it takes in the small networks. version: raised when its numbers change. networks: those
    that it runs in. codes: its codebook size K; None for a method without a codebook. dim: the
    coordinates of a latent, D. fixed_losses: its losses that no `<loss>_weight` knob weighs; their
    weight is 1. objective: its reconstruction term in the small networks; beside VQGAN's terms it
    is a log-likelihood where it is one here. modulated: whether its decoder reads the codevectors
    at every resolution. plugin: digest of the file that it comes from, if a user plugged it in.
    """

    build: Callable[[Any, int], Any]
    knobs: type[Training]
    version: int = 1
    networks: tuple[str, ...] = ("convnet", "vqgan")
    codes: Callable[[Any], int | None] = attrgetter("codebook_size")
    dim: Callable[[Any], int] = attrgetter("code_dim")
    fixed_losses: tuple[str, ...] = ()
    objective: str = "mse_over_variance"
    modulated: bool = False
    plugin: str = ""


# The networks of a quantiser that can also be trained alone, on latents that stay as they are.
WITH_FROZEN = ("convnet", "vqgan", "frozen")
METHODS: dict[str, Method] = {
    "vq_vae": Method(_vq_vae, Nearest, networks=WITH_FROZEN),
    "vq_vae_ema": Method(_vq_vae_ema, MovingAverage, networks=WITH_FROZEN),
    "sq_vae": Method(
        _sq_vae, Stochastic, fixed_losses=("discrete_kl", "continuous_kl"), objective="log_mse"
    ),
    "cvq_vae": Method(_cvq_vae, Clustered, networks=WITH_FROZEN),
    "near_codevectors": Method(_near_codevectors, Nearest, networks=WITH_FROZEN),
    "hard_features": Method(_hard_features, Nearest, networks=WITH_FROZEN),
    "rq_vae": Method(_rq_vae, Residual),
    "movq": Method(_movq, Multichannel, networks=("vqgan",), modulated=True),
    # Siblings and successors of CVQ-VAE.
    "fsq": Method(
        _fsq,
        Finite,
        codes=lambda knobs: math.prod(knobs.levels),
        dim=lambda knobs: len(knobs.levels),
    ),
    "lfq": Method(
        _binary, Binary, codes=lambda knobs: 2**knobs.code_bits, dim=attrgetter("code_bits")
    ),
    "bsq": Method(
        partial(_binary, spherical=True),
        Binary,
        codes=lambda knobs: 2**knobs.code_bits,
        dim=attrgetter("code_bits"),
    ),
    "simvq": Method(_simvq, Trained),
    "vq_vae_expiry": Method(_vq_vae_expiry, Expiring, networks=WITH_FROZEN),
    "vq_vae_rotation": Method(partial(_rotated, _vq_vae_expiry), Expiring),
    "cvq_vae_rotation": Method(partial(_rotated, _cvq_vae), Clustered),
    "ibq": Method(_ibq, IndexPropagated, fixed_losses=("index",)),
    "vq_wae": Method(_vq_wae, Transported),
    "wasserstein_vq": Method(_wasserstein_vq, GaussianMatched),
    "arcvq_vae": Method(_arcvq_vae, ArcMargin, objective="mse_over_4_variances"),
    # The continuous first stage of latent diffusion.
    "kl_autoencoder": Method(_kl_autoencoder, Normal, codes=lambda knobs: None),
    # Controls, see baselines/controls.py; the last is CVQ-VAE with another objective.
    "autoencoder": Method(_autoencoder, Continuous, codes=lambda knobs: None),
    "random_codebook": Method(_random_codebook, MovingAverage),
    "official_order": Method(_official_order, Contrastive),
    "variance_times_4": Method(
        _cvq_vae, Clustered, networks=("convnet",), objective="mse_over_4_variances"
    ),
}


def _convnet(knobs: Training, channels: int) -> Any:
    from models.convnet import decoder, encoder

    sizes = (channels, code_dim(knobs))
    return partial(encoder, *sizes), partial(decoder, *sizes)


def _vqgan(knobs: Training, channels: int) -> Any:
    from models.vqgan import VqganDecoder, encoder

    assert isinstance(knobs, Vqgan)
    own = (knobs.downsampling, knobs.network_channels, knobs.network_blocks)
    sizes = (channels, code_dim(knobs), *own)
    return partial(encoder, *sizes), partial(VqganDecoder, *sizes, METHODS[knobs.method].modulated)


def _multiple_of_four(knobs: Training, pixels: int) -> str:
    return "" if pixels % 4 == 0 else "is not a multiple of 4, as network 'convnet' needs"


# VQGAN's critic leaves nothing of fewer pixels; its perceptual networks may need more.
CRITIC_PIXELS = 24
PERCEPTUAL_PIXELS = {
    name: max(CRITIC_PIXELS, FEWEST_PIXELS[metric])
    for name, metric in (("vgg", "LPIPS"), ("alex", "LPIPS-Alex"))
}


def _fits_vqgan(knobs: Vqgan, pixels: int) -> str:
    if pixels % knobs.downsampling:
        return f"is not a multiple of downsampling: {knobs.downsampling}"
    fewest = PERCEPTUAL_PIXELS[knobs.perceptual_network]
    if pixels >= fewest:
        return ""
    fitting = [name for name, least in PERCEPTUAL_PIXELS.items() if pixels >= least]
    network = f"perceptual_network '{knobs.perceptual_network}', which needs {fewest}"
    allowed = ", ".join(fitting) or "larger images, or network 'convnet'"
    return f"is too small for {network}; allowed: {allowed}"


@dataclass(frozen=True)
class Network:
    """An encoder and its decoder.

    build: of the knobs and the images' channels, a builder of each. knobs: what the network takes
    beside the method's. misfit: why images of so many pixels a side do not fit, or empty. version:
    as of a method.
    """

    build: Callable[[Any, int], Any]
    knobs: type[Closed] | None
    misfit: Callable[[Any, int], str]
    version: int = 1


NETWORKS: dict[str, Network] = {
    "convnet": Network(_convnet, None, _multiple_of_four),
    "vqgan": Network(_vqgan, Vqgan, _fits_vqgan),
    # The small networks of a trained autoencoder; the version is also that of this training.
    "frozen": Network(_convnet, Frozen, _multiple_of_four),
}
# The version of the training loop of stage 1.
TRAINING = 1
# Name of an objective -> its version; VQGAN's are with its perceptual distance and its critic.
OBJECTIVES = {
    "mse_over_variance": 1,
    "mse_over_4_variances": 1,
    "log_mse": 1,
    "vqgan": 1,
    "vqgan_log_likelihood": 1,
}


@cache
def knobs_type(method: str, network: str) -> type[Training]:
    """The type of all knobs of a training of stage 1.

    Raises ValueError for a network that the method does not run in.
    """
    allowed = METHODS[method].networks
    if network not in allowed:
        raise ValueError(
            f"network: method '{method}' does not run in '{network}'; allowed: {', '.join(allowed)}"
        )
    found, beside = METHODS[method].knobs, NETWORKS[network].knobs
    if beside is None:
        return found
    bases: Any = (found, beside)
    return create_model(f"{found.__name__}{beside.__name__}", __base__=bases)


def parse_knobs(content: Any) -> Training | Generative:
    """The knobs of a cell, typed.

    Raises ValueError: pydantic.ValidationError for a wrong knob, another for an unknown method or a
    network that the method does not run in.
    """
    if isinstance(content, Training | Generative):
        return content
    method, network = content.get("method"), content.get("network", "convnet")
    if method in GENERATORS:
        return GENERATORS[method].knobs.model_validate(content)
    if method not in METHODS:
        raise ValueError(f"method: '{method}' is unknown; {nearest(str(method), METHODS)}")
    return knobs_type(method, network).model_validate(content)


def codebook_size(knobs: Training) -> int | None:
    """K of a cell, free or implied; None for a model without a codebook."""
    return METHODS[knobs.method].codes(knobs)


def code_dim(knobs: Training) -> int:
    """D of a cell, free or implied."""
    return METHODS[knobs.method].dim(knobs)


def objective_of(knobs: Training) -> str:
    """The name of the reconstruction term of a cell, one of OBJECTIVES."""
    objective = METHODS[knobs.method].objective
    if knobs.network == "vqgan":
        return "vqgan_log_likelihood" if objective == "log_mse" else "vqgan"
    return objective


def training_versions(knobs: Training | Generative) -> dict[str, int | str]:
    """Part of a training -> its version, for the cell's record; of either stage."""
    if isinstance(knobs, Generative):
        about = GENERATORS[knobs.method]
        return {"method": about.version, "network": about.network, "training": GENERATION_TRAINING}
    plugin = METHODS[knobs.method].plugin
    versions: dict[str, int | str] = {
        "method": METHODS[knobs.method].version,
        "network": NETWORKS[knobs.network].version,
        **({"plugin": plugin} if plugin else {}),
    }
    if isinstance(knobs, Frozen):
        return versions
    return versions | {"objective": OBJECTIVES[objective_of(knobs)], "training": TRAINING}


def refuse_edited_plugin(knobs: Training | Generative, versions: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a plug-in is still the one of these versions, as a record has them.

    A run that goes on while a user edits the plug-in would mix two methods in one cell.
    """
    if versions.get("plugin") != training_versions(knobs).get("plugin"):
        raise ConfigError(f"method '{knobs.method}': its plug-in was edited; start a new run")


def build_autoencoder(knobs: Training, channels: int, steps: int) -> Autoencoder:
    """The model of a cell, its weights drawn from the cell's seed.

    channels: of the images. steps: of the whole training, which SQ-VAE's annealing is scaled to.
    Encoder and decoder are drawn before the quantiser, each from its own seed, so that cells that
    differ only in the quantiser start from the same networks.
    """
    from models.autoencoder import Autoencoder
    from models.streams import Purpose, drawn

    encoder, decoder = NETWORKS[knobs.network].build(knobs, channels)
    quantiser = partial(METHODS[knobs.method].build, knobs, steps)
    return Autoencoder(
        encoder=drawn(encoder, knobs.seed, Purpose.ENCODER),
        decoder=drawn(decoder, knobs.seed, Purpose.DECODER),
        quantiser=drawn(quantiser, knobs.seed, Purpose.QUANTISER),
    )


def build_objective(knobs: Training, variance: float, perceptual: Any = None) -> Objective:
    """The reconstruction term of a cell.

    variance: of the training images in [0, 1]. perceptual: the distance that VQGAN trains with.
    """
    from models import objectives

    name = objective_of(knobs)
    if name == "mse_over_variance":
        return objectives.mse_over_variance(variance)
    if name == "mse_over_4_variances":
        # Images in [-1, 1], of which the error is, have four times the variance of those in [0, 1].
        return objectives.mse_over_variance(4 * variance)
    if name == "log_mse" or not isinstance(knobs, Vqgan):
        return objectives.log_mse
    base = objectives.log_likelihood if name == "vqgan_log_likelihood" else objectives.l1
    return objectives.with_perceptual(base, perceptual, knobs.perceptual_weight)


def build_adversary(knobs: Training, channels: int) -> Any:
    """The critic that VQGAN trains against, its weights drawn from the cell's seed; else None."""
    if not isinstance(knobs, Vqgan):
        return None
    from models.adversary import Adversary
    from models.streams import Purpose, drawn

    settings = (knobs.adversarial_start, knobs.adversarial_weight, knobs.learning_rate)
    return drawn(lambda: Adversary(channels, *settings), knobs.seed, Purpose.CRITIC)


def build_optimiser(knobs: Training, model: Any) -> Any:
    """Adam, with the momenta that each network was published with."""
    import torch

    betas = (0.5, 0.9) if knobs.network == "vqgan" else (0.9, 0.999)
    return torch.optim.Adam(model.parameters(), knobs.learning_rate, betas, fused=True)


class LossWeights(dict[str, float]):
    """Loss -> its weight. A loss without one, as a new method may have, is refused by name."""

    def __init__(self, method: str) -> None:
        """method: its name."""
        super().__init__()
        self.method = method

    def __missing__(self, loss: str) -> float:
        """Raise ConfigError."""
        raise ConfigError(
            f"method '{self.method}': loss '{loss}' has no weight; allowed: a knob {loss}_weight, "
            f"or fixed_losses=('{loss}',)"
        )


def loss_weights(knobs: Training, values: int) -> LossWeights:
    """The weight of each of the quantiser's losses. values: of one image, c h w.

    A knob `<loss>_weight` of the method weighs that loss. The fixed losses of SQ-VAE are of a whole
    image; beside VQGAN's terms, which are of one value, they are divided by the values of an image.
    """
    method, suffix = METHODS[knobs.method], "_weight"
    share = 1 / values if knobs.network == "vqgan" else 1.0
    weights = LossWeights(knobs.method)
    weights.update(dict.fromkeys(method.fixed_losses, share))
    for name in method.knobs.model_fields:
        if name.endswith(suffix):
            weights[name.removesuffix(suffix)] = getattr(knobs, name)
    return weights


# Last, because a plug-in imports names of this module.
METHODS.update(plugins.methods(Method, {*METHODS, *GENERATORS}))
