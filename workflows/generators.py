"""The generative models of stage 2, by their names in YAML: the registry's other half.

Beside every builder stand the knobs that it takes and its version, as in workflows/registry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workflows.knobs import (
    Diffusion,
    Generative,
    MaskedPrior,
    MultinomialPrior,
    Prior,
    ProjectedGan,
    ResidualPrior,
    StyleGan,
    Training,
)

if TYPE_CHECKING:
    from torch import Tensor

    from models.autoencoder import Autoencoder

# Of a point, without the batch.
Shape = tuple[int, ...]
# Of a network that was trained elsewhere, by name.
Weights = Mapping[str, "Tensor"]


def latent_space(first_stage: Any, scale: float = 1.0) -> Any:
    """The latents of an autoencoder, times `scale`, with the way to images and back."""
    from models.generation.spaces import LatentSpace

    return LatentSpace(first_stage, scale)


def code_space(first_stage: Any, scale: float = 1.0) -> Any:
    """The codes of an autoencoder, with the way to images and back."""
    from models.generation.spaces import CodeSpace

    return CodeSpace(first_stage)


def _pixel_space(first_stage: None, scale: float = 1.0) -> Any:
    from models.generation.spaces import PixelSpace

    return PixelSpace()


# What a generative model's points are -> their space, of a first stage and a scale.
SPACES = {"pixels": _pixel_space, "latents": latent_space, "codes": code_space}


def diffusion_process(knobs: Diffusion) -> Any:
    """How a diffusion model's points are noised and denoised."""
    from models.generation.diffusion import Process

    return Process(
        knobs.noise_steps,
        knobs.noise_schedule,
        knobs.noise_start,
        knobs.noise_end,
        knobs.diffusion_loss,
        knobs.label_dropout,
        GENERATORS[knobs.method].points == "pixels",
        knobs.sampling_steps,
        knobs.eta,
        knobs.guidance,
    )


def _diffusion(knobs: Diffusion, shape: Shape, classes: int | None, space: Any) -> Any:
    from models.generation.diffusion import DiffusionModel

    return DiffusionModel(
        diffusion_process(knobs),
        shape[0],
        [knobs.unet_channels * multiplier for multiplier in knobs.unet_multipliers],
        knobs.unet_blocks,
        knobs.attention_levels,
        knobs.head_channels,
        classes,
    )


def _autoregressive(knobs: Prior, shape: Shape, classes: int | None, space: Any) -> Any:
    from models.generation.autoregressive import AutoregressivePrior

    return AutoregressivePrior(
        space.codebook_size,
        shape,
        knobs.transformer_width,
        knobs.transformer_layers,
        knobs.temperature,
        classes,
    )


def _rq_transformer(knobs: ResidualPrior, shape: Shape, classes: int | None, space: Any) -> Any:
    from baselines.rq_transformer import ResidualTransformer

    return ResidualTransformer(
        space.autoencoder.quantiser.codebook,
        shape,
        knobs.transformer_width,
        (knobs.transformer_layers, knobs.depth_layers),
        knobs.soft_temperature,
        knobs.temperature,
        knobs.top_k,
        classes,
    )


def _masked_prior(knobs: MaskedPrior, shape: Shape, classes: int | None, space: Any) -> Any:
    from baselines.masked_prior import MaskedPrior as Model

    sizes = (knobs.transformer_width, knobs.transformer_layers)
    sampling = (knobs.sampling_steps, knobs.temperature)
    return Model(space.codebook_size, shape, *sizes, *sampling, classes)


def _imagebart(knobs: MultinomialPrior, shape: Shape, classes: int | None, space: Any) -> Any:
    from baselines.imagebart import ImageBart

    sizes = (knobs.transformer_width, knobs.transformer_layers, knobs.scales)
    return ImageBart(space.codebook_size, shape, *sizes, knobs.temperature, classes)


def _stylegan2(knobs: StyleGan, shape: Shape, classes: int | None, space: Any) -> Any:
    from baselines.stylegan2 import StyleGenerator

    return StyleGenerator(shape, knobs.gan_channels, knobs.noise_dim)


def _stylegan2_critic(knobs: StyleGan, shape: Shape, weights: Weights) -> Any:
    from baselines.stylegan2 import StyleCritic

    own = (knobs.learning_rate, knobs.r1_weight, knobs.r1_every, knobs.augment)
    return StyleCritic(shape, knobs.gan_channels, *own)


def _projected_gan(knobs: ProjectedGan, shape: Shape, classes: int | None, space: Any) -> Any:
    from baselines.projected_gan import FastGenerator

    return FastGenerator(shape, knobs.gan_channels, knobs.noise_dim)


def _projected_gan_critic(knobs: ProjectedGan, shape: Shape, weights: Weights) -> Any:
    from baselines.projected_gan import ProjectedCritic

    own = (knobs.learning_rate, knobs.augment, knobs.feature_side)
    return ProjectedCritic(shape, knobs.gan_channels, *own, weights)


@dataclass(frozen=True)
class Generator:
    """A generative model.

    build: of knobs, the shape of a point, the number of classes (None for a model that does not
    know them) and the space. knobs: the type of all knobs that it takes. points: what it models,
    one of SPACES; of latents and codes it needs a first stage. version, network, sampling: raised
    when its numbers change; the last where only those of sampling do. critic: its opponent, of
    knobs, the shape of a point and the weights of `frozen`. frozen: the network whose features the
    critic sees, one of weight_sources.FROZEN. betas, weight_decay: of AdamW. likelihood: whether it
    can say how likely points are. fits: whether it can model what a first stage of a method makes.
    """

    build: Callable[[Any, Shape, int | None, Any], Any]
    knobs: type[Generative]
    points: str
    version: int = 1
    network: int = 1
    sampling: int = 1
    critic: Callable[[Any, Shape, Weights], Any] | None = None
    frozen: str | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    likelihood: bool = False
    fits: Callable[[str], bool] = lambda method: True

    @property
    def has_first_stage(self) -> bool:
        """Whether it models what a first stage makes of images."""
        return self.points != "pixels"


# Versions of the U-Net and of DDIM, which the diffusion models share.
BACKBONE = 1
SAMPLING = 1
GENERATORS: dict[str, Generator] = {
    "ldm": Generator(_diffusion, Diffusion, "latents", network=BACKBONE, sampling=SAMPLING),
    "ddpm": Generator(_diffusion, Diffusion, "pixels", network=BACKBONE, sampling=SAMPLING),
    "autoregressive": Generator(
        _autoregressive, Prior, "codes", betas=(0.9, 0.95), likelihood=True
    ),
    "rq_transformer": Generator(
        _rq_transformer,
        ResidualPrior,
        "codes",
        betas=(0.9, 0.95),
        weight_decay=0.0001,
        likelihood=True,
        fits=lambda method: method == "rq_vae",
    ),
    # MaskGIT's and ImageBART's optimisers.
    "masked_prior": Generator(
        _masked_prior, MaskedPrior, "codes", betas=(0.9, 0.96), weight_decay=0.045
    ),
    "imagebart": Generator(
        _imagebart,
        MultinomialPrior,
        "codes",
        betas=(0.9, 0.95),
        # It models one code a place.
        fits=lambda method: method not in ("rq_vae", "movq"),
    ),
    # Both with Adam, which AdamW is without decay.
    "stylegan2": Generator(
        _stylegan2,
        StyleGan,
        "pixels",
        critic=_stylegan2_critic,
        betas=(0.0, 0.99),
        weight_decay=0.0,
    ),
    "projected_gan": Generator(
        _projected_gan,
        ProjectedGan,
        "pixels",
        critic=_projected_gan_critic,
        frozen="efficientnet_lite0",
        betas=(0.0, 0.99),
        weight_decay=0.0,
    ),
}
# The version of the training loop of stage 2.
GENERATION_TRAINING = 1


def build_space(knobs: Generative, first_stage: Autoencoder | None, scale: float = 1.0) -> Any:
    """What a generative model's points are, with the way to images and back."""
    return SPACES[GENERATORS[knobs.method].points](first_stage, scale)


def first_stage_file(knobs: Training | Generative) -> str | None:
    """The file in a first stage's folder that a cell is trained on; None of a cell without one."""
    if getattr(knobs, "first_stage", None) is None:
        return None
    kind = GENERATORS[knobs.method].points if isinstance(knobs, Generative) else "latents"
    return f"{kind}.safetensors"


def build_generator(knobs: Generative, shape: Shape, classes: int | None, space: Any) -> Any:
    """The model of a cell, its weights drawn from the cell's seed.

    shape: of a point. classes: of the dataset; used by conditional models alone.
    """
    from models.streams import Purpose, drawn

    known = classes if knobs.conditional else None
    build = partial(GENERATORS[knobs.method].build, knobs, shape, known, space)
    return drawn(build, knobs.seed, Purpose.BACKBONE)


def build_critic(knobs: Generative, shape: Shape, weights: Weights) -> Any:
    """The opponent of an adversarial network, its weights drawn from the cell's seed; else None.

    weights: of the frozen network that the method names; empty for other methods.
    """
    from models.streams import Purpose, drawn

    build = GENERATORS[knobs.method].critic
    return build and drawn(partial(build, knobs, shape, weights), knobs.seed, Purpose.CRITIC)


def build_generator_optimiser(knobs: Generative, model: Any) -> Any:
    """AdamW, with the settings that each model was published with."""
    import torch

    about = GENERATORS[knobs.method]
    return torch.optim.AdamW(
        model.parameters(), knobs.learning_rate, about.betas, weight_decay=about.weight_decay
    )
