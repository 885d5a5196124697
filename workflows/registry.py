"""The quantisers and networks of stage 1, by their names in YAML.

To add a quantiser, write a type of knobs in workflows/knobs.py and an entry in METHODS. Where the
class of the quantiser takes knobs as they are, `constructor` makes the builder; other quantisers
have a function of a few lines. A builder imports the quantiser's module when it is called, so a run
loads its own method alone.

Every entry has a version, by which results are known. Raise the version when the numbers change,
and the cells that use the entry are trained again. Moving, renaming or speeding up code raises no
version; tests/goldens notices when numbers change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from operator import attrgetter
from pkgutil import resolve_name
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

# Makes a quantiser from the knobs and the number of steps of the whole training.
Builder = Callable[[Any, int], Any]
# The knobs that hold K and D.
SIZES = ("codebook_size", "code_dim")


def _similarity(knobs: MovingAverage) -> Any:
    from models.quantiser import distances

    return {"cosine": distances.cosine, "l2": distances.squared_euclidean}[knobs.distance]


def constructor(location: str, *names: str, **constants: Any) -> Builder:
    """Return the builder of a quantiser whose class takes these knobs in this order.

    location: "module:class". names: of knobs; for `distance` the class gets the similarity that the
    knob names. constants: arguments that no knob holds.
    """

    def build(knobs: Any, steps: int) -> Any:
        values = [
            _similarity(knobs) if name == "distance" else getattr(knobs, name) for name in names
        ]
        return resolve_name(location)(*values, **constants)

    return build


def _vq_vae(knobs: Nearest, steps: int, refresh: Any = None, contrastive: bool = False) -> Any:
    from models.quantiser.clustered import ClusteredQuantiser

    sizes = (knobs.codebook_size, knobs.code_dim)
    return ClusteredQuantiser(*sizes, _similarity(knobs), refresh, contrastive)


def _refresh(knobs: Refreshed) -> Any:
    from models.quantiser import anchors
    from models.quantiser.blends import UsageDecay
    from models.quantiser.refresh import Refresh, every_step, first_batch

    # The samplers bear the names that the knob takes.
    sampler = getattr(anchors, knobs.anchors)
    schedule = {"online": every_step, "offline": first_batch}[knobs.schedule]
    return Refresh(sampler, UsageDecay(knobs.codebook_size), schedule, knobs.seed)


def _cvq_vae(knobs: Clustered, steps: int) -> Any:
    return _vq_vae(knobs, steps, _refresh(knobs), knobs.contrastive)


def _official_order(knobs: Contrastive, steps: int) -> Any:
    from baselines.controls import OfficialOrder

    sizes = (knobs.codebook_size, knobs.code_dim)
    return OfficialOrder(*sizes, _similarity(knobs), _refresh(knobs))


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


def _movq(knobs: Multichannel, steps: int) -> Any:
    from baselines.movq import MultichannelQuantiser
    from models.quantiser.clustered import ClusteredQuantiser

    groups = knobs.channel_groups
    inner = ClusteredQuantiser(knobs.codebook_size, knobs.code_dim // groups, _similarity(knobs))
    return MultichannelQuantiser(inner, groups)


def _rotated(build: Builder, knobs: Training, steps: int) -> Any:
    from baselines.rotation_trick import RotatedQuantiser

    return RotatedQuantiser(build(knobs, steps))


# Builders that two entries share.
_EXPIRY = constructor("baselines.expiry:ExpiringQuantiser", *SIZES, "decay", "expiry", "seed")
_BINARY = partial(
    constructor, "baselines.lfq:LookupFreeQuantiser", "code_bits", "entropy_temperature"
)


@dataclass(frozen=True)
class Method:
    """An entry of METHODS: a quantiser and its properties.

    knobs: the pydantic type that holds the method's settings in the small networks. version: raised
    when the numbers change. networks: those that the method runs in. codes, dim: return K (None for
    a method without a codebook) and D. fixed_losses: losses with weight 1, which have no knob
    `<loss>_weight`. objective: the reconstruction term in the small networks; in VQGAN `log_mse`
    becomes a log-likelihood, every other objective L1. modulated: whether the decoder reads the
    codevectors at every resolution. plugin: the digest of the user's file that the method comes
    from.
    """

    build: Builder
    knobs: type[Training]
    version: int = 1
    networks: tuple[str, ...] = ("convnet", "vqgan")
    codes: Callable[[Any], int | None] = attrgetter("codebook_size")
    dim: Callable[[Any], int] = attrgetter("code_dim")
    fixed_losses: tuple[str, ...] = ()
    objective: str = "mse_over_variance"
    modulated: bool = False
    plugin: str = ""


# The networks of a quantiser that can also be trained alone, on the latents of a frozen network.
WITH_FROZEN = ("convnet", "vqgan", "frozen")
METHODS: dict[str, Method] = {
    "vq_vae": Method(_vq_vae, Nearest, networks=WITH_FROZEN),
    "vq_vae_ema": Method(
        constructor("baselines.vq_vae:MovingAverageQuantiser", *SIZES, "distance"),
        MovingAverage,
        version=2,
        networks=WITH_FROZEN,
    ),
    "sq_vae": Method(
        _sq_vae, Stochastic, fixed_losses=("discrete_kl", "continuous_kl"), objective="log_mse"
    ),
    "cvq_vae": Method(_cvq_vae, Clustered, networks=WITH_FROZEN),
    "near_codevectors": Method(_near_codevectors, Nearest, networks=WITH_FROZEN),
    "hard_features": Method(_hard_features, Nearest, networks=WITH_FROZEN),
    "rq_vae": Method(
        constructor("baselines.rq_vae:ResidualQuantiser", *SIZES, "residual_depth", "seed"),
        Residual,
    ),
    "movq": Method(_movq, Multichannel, networks=("vqgan",), modulated=True),
    # Siblings and successors of CVQ-VAE.
    "fsq": Method(
        constructor("baselines.fsq:FiniteScalarQuantiser", "levels"),
        Finite,
        codes=lambda knobs: math.prod(knobs.levels),
        dim=lambda knobs: len(knobs.levels),
    ),
    "lfq": Method(
        _BINARY(spherical=False),
        Binary,
        codes=lambda knobs: 2**knobs.code_bits,
        dim=attrgetter("code_bits"),
    ),
    "bsq": Method(
        _BINARY(spherical=True),
        Binary,
        codes=lambda knobs: 2**knobs.code_bits,
        dim=attrgetter("code_bits"),
    ),
    "simvq": Method(constructor("baselines.simvq:SimQuantiser", *SIZES), Trained),
    "vq_vae_expiry": Method(_EXPIRY, Expiring, networks=WITH_FROZEN),
    "vq_vae_rotation": Method(partial(_rotated, _EXPIRY), Expiring),
    "cvq_vae_rotation": Method(partial(_rotated, _cvq_vae), Clustered),
    "ibq": Method(
        constructor("baselines.ibq:IndexQuantiser", *SIZES, "entropy_temperature"),
        IndexPropagated,
        fixed_losses=("index",),
    ),
    "vq_wae": Method(constructor("baselines.vq_wae:TransportQuantiser", *SIZES), Transported),
    "wasserstein_vq": Method(
        constructor("baselines.wasserstein_vq:GaussianMatchedQuantiser", *SIZES), GaussianMatched
    ),
    "arcvq_vae": Method(
        constructor("baselines.arcvq_vae:ArcMarginQuantiser", *SIZES),
        ArcMargin,
        objective="mse_over_4_variances",
    ),
    # The continuous first stage of latent diffusion.
    "kl_autoencoder": Method(
        constructor("baselines.kl_autoencoder:NormalLatents", "code_dim", "seed"),
        Normal,
        codes=lambda knobs: None,
    ),
    # Controls, see baselines/controls.py. The last control is CVQ-VAE with another objective.
    "autoencoder": Method(
        constructor("baselines.controls:NoQuantiser", "code_dim"),
        Continuous,
        codes=lambda knobs: None,
    ),
    "random_codebook": Method(
        constructor("baselines.controls:RandomCodebook", *SIZES, "distance"), MovingAverage
    ),
    "official_order": Method(_official_order, Contrastive),
    "variance_times_4": Method(
        _cvq_vae, Clustered, networks=("convnet",), objective="mse_over_4_variances"
    ),
}


def _convnet(knobs: Training, channels: int) -> Any:
    from models.convnet import decoder, encoder

    sizes = (channels, code_dim(knobs))
    return partial(encoder, *sizes), partial(decoder, *sizes)


def _vqgan(knobs: Vqgan, channels: int) -> Any:
    from models.vqgan import VqganDecoder, encoder

    assert isinstance(knobs, Training)
    depth = (knobs.downsampling, knobs.network_channels, knobs.network_blocks)
    sizes = (channels, code_dim(knobs), *depth)
    return partial(encoder, *sizes), partial(VqganDecoder, *sizes, METHODS[knobs.method].modulated)


def _convnet_misfit(knobs: Training, pixels: int) -> str:
    return "" if pixels % 4 == 0 else "is not a multiple of 4, as network 'convnet' needs"


# VQGAN's critic cannot take smaller images; a perceptual network may need larger ones.
CRITIC_PIXELS = 24
PERCEPTUAL_PIXELS = {
    name: max(CRITIC_PIXELS, FEWEST_PIXELS[metric])
    for name, metric in (("vgg", "LPIPS"), ("alex", "LPIPS-Alex"))
}


def _vqgan_misfit(knobs: Vqgan, pixels: int) -> str:
    if pixels % knobs.downsampling:
        return f"is not a multiple of downsampling: {knobs.downsampling}"
    fewest = PERCEPTUAL_PIXELS[knobs.perceptual_network]
    if pixels >= fewest:
        return ""
    fitting = [name for name, least in PERCEPTUAL_PIXELS.items() if pixels >= least]
    allowed = ", ".join(fitting) or "larger images, or network 'convnet'"
    return (
        f"is too small for perceptual_network '{knobs.perceptual_network}', which needs {fewest}; "
        f"allowed: {allowed}"
    )


@dataclass(frozen=True)
class Network:
    """An entry of NETWORKS: an encoder and its decoder.

    build: returns a function that makes the encoder and one that makes the decoder, given the knobs
    and the channels of images. knobs: the type of the settings that the network adds to those of
    the method. misfit: returns why images with this many pixels a side do not fit, or "". version:
    raised when the numbers change.
    """

    build: Callable[[Any, int], Any]
    knobs: type[Closed] | None
    misfit: Callable[[Any, int], str]
    version: int = 1


NETWORKS: dict[str, Network] = {
    "convnet": Network(_convnet, None, _convnet_misfit),
    "vqgan": Network(_vqgan, Vqgan, _vqgan_misfit),
    # The small networks of a trained autoencoder; the version covers the training between them.
    "frozen": Network(_convnet, Frozen, _convnet_misfit),
}
# The version of the training loop of stage 1.
TRAINING = 1
# Name of an objective -> its version. VQGAN's versions cover its perceptual distance and critic.
OBJECTIVES = {
    "mse_over_variance": 1,
    "mse_over_4_variances": 1,
    "log_mse": 1,
    "vqgan": 1,
    "vqgan_log_likelihood": 1,
}


@cache
def knobs_type(method: str, network: str) -> type[Training]:
    """Return the type that holds all knobs of a training of stage 1.

    Raises ValueError for a network that the method does not run in.
    """
    allowed = METHODS[method].networks
    if network not in allowed:
        raise ValueError(
            f"network: method '{method}' does not run in '{network}'; allowed: {', '.join(allowed)}"
        )
    of_method, of_network = METHODS[method].knobs, NETWORKS[network].knobs
    if of_network is None:
        return of_method
    bases: Any = (of_method, of_network)
    return create_model(f"{of_method.__name__}{of_network.__name__}", __base__=bases)


def parse_knobs(content: Any) -> Training | Generative:
    """Return the knobs of a cell, typed.

    Raises ValueError for an unknown method or network, and pydantic.ValidationError, which is a
    ValueError, for a wrong knob.
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
    """Return K of a cell, or None for a model without a codebook."""
    return METHODS[knobs.method].codes(knobs)


def code_dim(knobs: Training) -> int:
    """Return D of a cell."""
    return METHODS[knobs.method].dim(knobs)


def _objective_name(knobs: Training) -> str:
    objective = METHODS[knobs.method].objective
    if knobs.network == "vqgan":
        return "vqgan_log_likelihood" if objective == "log_mse" else "vqgan"
    return objective


def training_versions(knobs: Training | Generative) -> dict[str, int | str]:
    """Return the versions of all parts of a training by name, for the cell's record."""
    if isinstance(knobs, Generative):
        model = GENERATORS[knobs.method]
        return {"method": model.version, "network": model.network, "training": GENERATION_TRAINING}
    method = METHODS[knobs.method]
    versions: dict[str, int | str] = {
        "method": method.version,
        "network": NETWORKS[knobs.network].version,
    }
    if method.plugin:
        versions["plugin"] = method.plugin
    if not isinstance(knobs, Frozen):
        versions |= {"objective": OBJECTIVES[_objective_name(knobs)], "training": TRAINING}
    return versions


def refuse_edited_plugin(knobs: Training | Generative, versions: Mapping[str, Any]) -> None:
    """Raise ConfigError if the plug-in's digest is not the one in `versions`, which a record holds.

    A run that goes on after an edit would mix two methods in one cell.
    """
    if versions.get("plugin") != training_versions(knobs).get("plugin"):
        raise ConfigError(f"method '{knobs.method}': its plug-in was edited; start a new run")


def build_autoencoder(knobs: Training, channels: int, steps: int) -> Autoencoder:
    """Return the model of a cell, its weights drawn from the cell's seed.

    channels: of the images. steps: of the whole training, which SQ-VAE's annealing needs. Encoder,
    decoder and quantiser have random streams of their own, so cells that differ only in the
    quantiser start from the same networks.
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
    """Return the reconstruction term of a cell.

    variance: of the training images in [0, 1]. perceptual: the distance that VQGAN trains with.
    """
    from models import objectives

    name = _objective_name(knobs)
    if isinstance(knobs, Vqgan):
        base = objectives.log_likelihood if name == "vqgan_log_likelihood" else objectives.l1
        return objectives.with_perceptual(base, perceptual, knobs.perceptual_weight)
    if name == "log_mse":
        return objectives.log_mse
    # The error is of images in [-1, 1], which have four times the variance of those in [0, 1].
    factor = 4 if name == "mse_over_4_variances" else 1
    return objectives.mse_over_variance(factor * variance)


def build_adversary(knobs: Training, channels: int) -> Any:
    """Return VQGAN's critic, its weights drawn from the cell's seed; None in other networks."""
    if not isinstance(knobs, Vqgan):
        return None
    from models.adversary import Adversary
    from models.streams import Purpose, drawn

    settings = (knobs.adversarial_start, knobs.adversarial_weight, knobs.learning_rate)
    return drawn(partial(Adversary, channels, *settings), knobs.seed, Purpose.CRITIC)


def build_optimiser(knobs: Training, model: Any) -> Any:
    """Return Adam with the momenta that the network was published with."""
    import torch

    betas = (0.5, 0.9) if knobs.network == "vqgan" else (0.9, 0.999)
    return torch.optim.Adam(model.parameters(), knobs.learning_rate, betas, fused=True)


class LossWeights(dict[str, float]):
    """The weight of each loss. A loss without a weight, as in a new method, is refused by name."""

    method = ""

    def __missing__(self, loss: str) -> float:
        """Raise ConfigError."""
        raise ConfigError(
            f"method '{self.method}': loss '{loss}' has no weight; allowed: a knob {loss}_weight, "
            f"or fixed_losses=('{loss}',)"
        )


def loss_weights(knobs: Training, values: int) -> LossWeights:
    """Return the weight of each loss of the quantiser. values: of one image, c h w.

    The knob `<loss>_weight` is the weight of a loss. Fixed losses are of a whole image, as SQ-VAE's
    are. Beside VQGAN's terms, which are of one value, they are divided by the number of values.
    """
    method = METHODS[knobs.method]
    fixed_weight = 1 / values if knobs.network == "vqgan" else 1.0
    weights = LossWeights(dict.fromkeys(method.fixed_losses, fixed_weight))
    weights.method = knobs.method
    for name in method.knobs.model_fields:
        if name.endswith("_weight"):
            weights[name.removesuffix("_weight")] = getattr(knobs, name)
    return weights


# This comes last, because a plug-in imports names of this module.
METHODS.update(plugins.methods(Method, {*METHODS, *GENERATORS}))
