"""The generative models of stage 2, by their names in YAML.

To add a model, write a type of knobs in workflows/knobs.py and an entry in GENERATORS. `_prior` and
`_gan` make the builders of most models; other models have a function of a few lines. A builder
imports the model's module when it is called, so a run loads its own model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import Any

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

# The shape of a point, without the batch.
Shape = tuple[int, ...]
# Makes a model from knobs, the shape of a point, the number of classes (None for a model without
# classes) and the space.
Builder = Callable[[Any, Shape, int | None, Any], Any]
# Makes a critic from knobs, the shape of a point and the weights of a frozen network by name.
CriticBuilder = Callable[[Any, Shape, Mapping[str, Any]], Any]


def diffusion_process(knobs: Diffusion) -> Any:
    """Return the noising and denoising of a diffusion model."""
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


def _prior(location: str, *names: str) -> Builder:
    """Return the builder of a prior, whose class takes the size of its transformer and some knobs.

    location: "module:class". names: of the knobs that the class takes after the size.
    """

    def build(knobs: Any, shape: Shape, classes: int | None, space: Any) -> Any:
        size = (knobs.transformer_width, knobs.transformer_layers)
        others = [getattr(knobs, name) for name in names]
        return resolve_name(location)(space.codebook_size, shape, *size, *others, classes)

    return build


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


def _gan(location: str) -> Builder:
    """Return the builder of a generator of images. location: "module:class"."""

    def build(knobs: Any, shape: Shape, classes: int | None, space: Any) -> Any:
        return resolve_name(location)(shape, knobs.gan_channels, knobs.noise_dim)

    return build


def _style_critic(knobs: StyleGan, shape: Shape, weights: Mapping[str, Any]) -> Any:
    from baselines.stylegan2 import StyleCritic

    training = (knobs.learning_rate, knobs.r1_weight, knobs.r1_every, knobs.augment)
    return StyleCritic(shape, knobs.gan_channels, *training)


def _projected_critic(knobs: ProjectedGan, shape: Shape, weights: Mapping[str, Any]) -> Any:
    from baselines.projected_gan import ProjectedCritic

    training = (knobs.learning_rate, knobs.augment)
    return ProjectedCritic(knobs.gan_channels, *training, knobs.feature_side, weights)


@dataclass(frozen=True)
class Generator:
    """An entry of GENERATORS.

    knobs: the pydantic type that holds the model's settings. points: what is modelled, see
    `build_space`. version, network, sampling: raised when the numbers change; `sampling` when only
    those of samples change. critic: builds the opponent of an adversarial network. frozen: the
    network whose features the critic sees, a name in weight_sources.SOURCES. betas, weight_decay:
    of AdamW. likelihood: whether the model has `bits`. fits: whether the points of a first stage of
    this method can be modelled.
    """

    build: Builder
    knobs: type[Generative]
    points: str
    version: int = 1
    network: int = 1
    sampling: int = 1
    critic: CriticBuilder | None = None
    frozen: str | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    likelihood: bool = False
    fits: Callable[[str], bool] = lambda method: True

    @property
    def has_first_stage(self) -> bool:
        """Whether the model needs the latents or codes of a first stage."""
        return self.points != "pixels"


# The versions of the U-Net and of DDIM, which the diffusion models share.
BACKBONE = 1
SAMPLING = 1
# The version of the training loop of stage 2.
GENERATION_TRAINING = 1
GENERATORS: dict[str, Generator] = {
    "ldm": Generator(_diffusion, Diffusion, "latents", network=BACKBONE, sampling=SAMPLING),
    "ddpm": Generator(_diffusion, Diffusion, "pixels", network=BACKBONE, sampling=SAMPLING),
    "autoregressive": Generator(
        _prior("models.generation.autoregressive:AutoregressivePrior", "temperature"),
        Prior,
        "codes",
        betas=(0.9, 0.95),
        likelihood=True,
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
    # MaskGIT's and ImageBART's optimisers are as published.
    "masked_prior": Generator(
        _prior("baselines.masked_prior:MaskedPrior", "sampling_steps", "temperature"),
        MaskedPrior,
        "codes",
        betas=(0.9, 0.96),
        weight_decay=0.045,
    ),
    "imagebart": Generator(
        _prior("baselines.imagebart:ImageBart", "scales", "temperature"),
        MultinomialPrior,
        "codes",
        betas=(0.9, 0.95),
        # ImageBART models one code a place.
        fits=lambda method: method not in ("rq_vae", "movq"),
    ),
    # Both GANs were published with Adam, which is AdamW without decay.
    "stylegan2": Generator(
        _gan("baselines.stylegan2:StyleGenerator"),
        StyleGan,
        "pixels",
        critic=_style_critic,
        betas=(0.0, 0.99),
        weight_decay=0.0,
    ),
    "projected_gan": Generator(
        _gan("baselines.projected_gan:FastGenerator"),
        ProjectedGan,
        "pixels",
        critic=_projected_critic,
        frozen="efficientnet_lite0",
        betas=(0.0, 0.99),
        weight_decay=0.0,
    ),
}


def build_space(points: str, first_stage: Any, scale: float = 1.0) -> Any:
    """Return the space of a model's points.

    points: "pixels", or "latents" or "codes" of a first stage. first_stage: an autoencoder, or None
    for pixels. scale: of latents.
    """
    from models.generation import spaces

    if points == "latents":
        return spaces.LatentSpace(first_stage, scale)
    return spaces.CodeSpace(first_stage) if points == "codes" else spaces.PixelSpace()


def first_stage_file(knobs: Training | Generative) -> str | None:
    """Return the name of the first stage's file that a cell is trained on, or None."""
    if getattr(knobs, "first_stage", None) is None:
        return None
    points = GENERATORS[knobs.method].points if isinstance(knobs, Generative) else "latents"
    return f"{points}.safetensors"


def build_generator(knobs: Generative, shape: Shape, classes: int | None, space: Any) -> Any:
    """Return the model of a cell, its weights drawn from the cell's seed.

    shape: of a point. classes: of the dataset; only conditional models use them.
    """
    from models.streams import Purpose, drawn

    known_classes = classes if knobs.conditional else None
    build = partial(GENERATORS[knobs.method].build, knobs, shape, known_classes, space)
    return drawn(build, knobs.seed, Purpose.BACKBONE)


def build_critic(knobs: Generative, shape: Shape, weights: Mapping[str, Any]) -> Any:
    """Return the critic of a cell, its weights drawn from the cell's seed, or None.

    weights: of the frozen network that the method names; empty for other methods.
    """
    from models.streams import Purpose, drawn

    build = GENERATORS[knobs.method].critic
    return build and drawn(partial(build, knobs, shape, weights), knobs.seed, Purpose.CRITIC)


def build_generator_optimiser(knobs: Generative, model: Any) -> Any:
    """Return AdamW with the settings that the model was published with."""
    import torch

    generator = GENERATORS[knobs.method]
    return torch.optim.AdamW(
        model.parameters(),
        knobs.learning_rate,
        generator.betas,
        weight_decay=generator.weight_decay,
    )
