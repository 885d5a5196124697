"""The settings of trainings ("knobs"), as pydantic types. The registries name the type of a method.

The name of a cell shows every knob that differs from what its row starts from (SLUGS).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from workflows.errors import nearest

UNKNOWN_KEY = "unknown_key"
MOST_CODES = 1_048_576
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, lt=1)]
Variance = Annotated[float, Field(gt=0, lt=1)]
Dimension = Annotated[int, Field(ge=1, le=4096)]
Layers = Annotated[int, Field(ge=1, le=64)]
Steps = Annotated[int, Field(ge=1, le=10_000)]
Width = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]


class Closed(BaseModel):
    """A frozen type that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _name_allowed_keys(cls, content: Any, handler: Any) -> Any:
        """Add the nearest and all allowed keys to the message about an unknown key."""
        try:
            return handler(content)
        except ValidationError as error:
            problems: list[Any] = []
            for problem in error.errors(include_url=False):
                kind: Any = problem["type"]
                text = problem["msg"]
                if kind == "extra_forbidden" and len(problem["loc"]) == 1:
                    kind = UNKNOWN_KEY
                    text = f"unknown key; {nearest(str(problem['loc'][0]), cls.model_fields)}"
                # The unknown keys of an inner type are explained already, and passed on.
                if kind == UNKNOWN_KEY:
                    kind = PydanticCustomError(UNKNOWN_KEY, "{text}", {"text": text})
                problems.append({**problem, "type": kind})
            raise ValidationError.from_exception_data(cls.__name__, problems) from None


class Run(Closed):
    """The settings of every training. train_images: the number of images used, or None for all."""

    dataset: str
    method: str
    seed: Annotated[int, Field(ge=0, le=1_000_000)]
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    precision: Literal["fp32", "bf16", "tf32"]
    train_images: Annotated[int, Field(ge=1)] | None


class Training(Run):
    """The settings of every autoencoder (stage 1)."""

    stage: ClassVar[Literal[1, 2]] = 1
    network: str = "convnet"


class Continuous(Training):
    """An autoencoder without a codebook, with D = code_dim coordinates a latent."""

    code_dim: Dimension


class Normal(Continuous):
    """An autoencoder whose latents are drawn from normal distributions near the standard one."""

    kl_weight: Weight


class Codebook(Training):
    """A codebook of K = codebook_size codevectors of D = code_dim coordinates."""

    codebook_size: Annotated[int, Field(ge=2, le=MOST_CODES)]
    code_dim: Dimension


class MovingAverage(Codebook):
    """VQ-VAE whose codevectors are moving averages."""

    distance: Literal["cosine", "l2"]
    commitment_weight: Weight


class Nearest(MovingAverage):
    """VQ-VAE whose codevectors are trained by the codebook loss."""

    codebook_weight: Weight


class Refreshed(Nearest):
    """VQ-VAE with anchors for dead codevectors (paper, section 3)."""

    anchors: Literal["random", "unique", "probability", "closest", "farthest"]
    schedule: Literal["online", "offline"]


class Contrastive(Refreshed):
    """CVQ-VAE with the contrastive term."""

    contrastive_weight: Weight


class Clustered(Contrastive):
    """CVQ-VAE, with or without the contrastive term."""

    contrastive: bool


class Stochastic(Codebook):
    """SQ-VAE.

    sq_initial_variance: exp(phi) at the first step, for D = 64. sq_final_temperature: the
    temperature at the last step.
    """

    sq_initial_variance: Positive
    sq_final_temperature: Annotated[float, Field(gt=0, le=1)]


class Residual(Codebook):
    """RQ-VAE, with residual_depth codes a latent."""

    residual_depth: Layers
    commitment_weight: Weight


class Multichannel(Nearest):
    """MoVQ, with one code for each of channel_groups groups of a latent's coordinates."""

    channel_groups: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> Multichannel:
        if self.code_dim % self.channel_groups:
            raise ValueError(
                f"code_dim: {self.code_dim} is not a multiple of channel_groups: "
                f"{self.channel_groups}"
            )
        return self


class Finite(Training):
    """FSQ, with one coordinate for each number of levels; K is the product of the levels."""

    levels: Annotated[list[Annotated[int, Field(ge=3, le=256)]], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _has_few_codes(self) -> Finite:
        if math.prod(self.levels) > MOST_CODES:
            raise ValueError(f"levels: their product is above {MOST_CODES:,}")
        return self


class Binary(Training):
    """LFQ and BSQ, with code_bits coordinates of one bit each; K = 2^code_bits."""

    code_bits: Annotated[int, Field(ge=1, le=20)]
    commitment_weight: Weight
    entropy_weight: Weight
    entropy_temperature: Positive


class Expiring(Codebook):
    """VQ-VAE by moving averages; codes with a count below `expiry` expire."""

    decay: Part
    expiry: Annotated[float, Field(ge=0)]
    commitment_weight: Weight


class Trained(Codebook):
    """A codebook that is trained by the codebook loss."""

    commitment_weight: Weight
    codebook_weight: Weight


class IndexPropagated(Trained):
    """IBQ, with its entropies."""

    entropy_weight: Weight
    entropy_temperature: Positive


class Transported(Codebook):
    """VQ-WAE, with the weights of transport and of the divergence of code weights from uniform."""

    transport_weight: Weight
    weights_kl_weight: Weight


class GaussianMatched(Trained):
    """Wasserstein VQ."""

    wasserstein_weight: Weight


class ArcMargin(Trained):
    """ArcVQ-VAE."""

    arc_weight: Weight


class Vqgan(Closed):
    """The networks and losses of VQGAN. adversarial_start: the critic's first step, from 0."""

    downsampling: Literal[4, 8, 16]
    network_channels: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
    network_blocks: Annotated[int, Field(ge=1, le=8)]
    perceptual_weight: Weight
    perceptual_network: Literal["vgg", "alex"]
    adversarial_weight: Weight
    adversarial_start: Annotated[int, Field(ge=0)]


class Frozen(Closed):
    """The frozen networks of a trained autoencoder, between which a quantiser is trained.

    first_stage: the id of the autoencoder's cell.
    """

    first_stage: str


class Generative(Run):
    """The settings of every generative model (stage 2).

    first_stage: the id of the cell whose latents or codes are modelled; None for pixels.
    conditional: whether samples have a class. ema_decay: of the averaged weights, which the cell
    keeps.
    """

    stage: ClassVar[Literal[1, 2]] = 2
    # Sampling reads these knobs, and training ignores them.
    SAMPLING: ClassVar = ("sampling_steps", "eta", "guidance", "temperature", "top_k", "samples")
    first_stage: str | None
    conditional: bool
    ema_decay: Part
    warmup_steps: Annotated[int, Field(ge=0)]
    # The picture of samples has eight in a line.
    samples: Annotated[int, Field(ge=8, le=1_000_000)]

    @property
    def passes(self) -> int:
        """How often the network runs for one sample."""
        return 1


class Diffusion(Generative):
    """A diffusion model.

    label_dropout: the probability that training hides the class, as guidance needs.
    attention_levels: the number of lowest resolutions with attention. noise_schedule: the betas
    (`linear`) or their square roots (`scaled_linear`) have equal distances. guidance: s in e(none)
    + s (e(class) - e(none)); 1 is off.
    """

    sampling_steps: Steps
    eta: Annotated[float, Field(ge=0, le=1)]
    guidance: Annotated[float, Field(ge=1, le=100)]
    label_dropout: Part
    unet_channels: Width
    unet_multipliers: Annotated[
        list[Annotated[int, Field(ge=1, le=16)]], Field(min_length=1, max_length=6)
    ]
    unet_blocks: Annotated[int, Field(ge=1, le=8)]
    attention_levels: Annotated[int, Field(ge=0, le=6)]
    head_channels: Annotated[int, Field(ge=8, le=1024)]
    noise_steps: Annotated[int, Field(ge=2, le=10_000)]
    noise_schedule: Literal["linear", "scaled_linear"]
    noise_start: Variance
    noise_end: Variance
    diffusion_loss: Literal["l1", "l2"]

    @property
    def passes(self) -> int:
        """How often the network runs for one sample: with guidance twice a step."""
        return self.sampling_steps * (1 if self.guidance == 1 else 2)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Diffusion:
        if self.noise_steps % self.sampling_steps:
            # Sampling would begin below the last time, where images have less noise.
            divisors = [n for n in range(1, self.noise_steps + 1) if self.noise_steps % n == 0]
            raise ValueError(
                f"sampling_steps: {self.sampling_steps} does not divide noise_steps: "
                f"{self.noise_steps}; allowed: {', '.join(map(str, divisors))}"
            )
        if self.guidance != 1 and not (self.conditional and self.label_dropout):
            raise ValueError(
                f"guidance: {self.guidance} needs a conditional model that also trains without "
                "its class; set conditional and label_dropout, or guidance: 1"
            )
        widths = [self.unet_channels * factor for factor in self.unet_multipliers]
        groups = min(32, *(width // 4 for width in widths))
        if any(width % groups for width in widths):
            raise ValueError(
                f"unet_channels: {self.unet_channels} makes levels of "
                f"{', '.join(map(str, widths))} channels, not all multiples of the {groups} groups "
                "that the U-Net normalises by; a multiple of 32 always fits"
            )
        # The block below the last level always has attention.
        narrowest = min(widths[max(0, len(widths) - self.attention_levels) :] or widths[-1:])
        if self.head_channels > narrowest:
            raise ValueError(
                f"head_channels: {self.head_channels} is more than the {narrowest} channels of a "
                f"level with attention; allowed: 8 to {narrowest}"
            )
        return self


class Prior(Generative):
    """A transformer that models codes. temperature: divides the logits of samples."""

    transformer_width: Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
    transformer_layers: Layers
    temperature: Annotated[float, Field(gt=0, le=10)]


class ResidualPrior(Prior):
    """RQ-Transformer, with transformer_layers over places and depth_layers over codes of a place.

    soft_temperature: of soft targets and of the codes drawn in training, in squared latents; 0
    turns both off. top_k: samples are drawn among the likeliest codes; None for all codes.
    """

    depth_layers: Layers
    soft_temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=1, le=MOST_CODES)] | None


class MaskedPrior(Prior):
    """A transformer that predicts hidden codes.

    temperature: scales the noise that the first step of sampling adds to the logarithm of the
    probability of a place's codes.
    """

    sampling_steps: Steps

    @property
    def passes(self) -> int:
        """How often the network runs for one sample: each step reads all codes."""
        return self.sampling_steps


class MultinomialPrior(Prior):
    """ImageBART, with `scales` transformers. transformer_layers: of each encoder and decoder."""

    scales: Annotated[int, Field(ge=2, le=16)]

    @property
    def passes(self) -> int:
        """How often a network runs for one sample: each transformer once, as it caches."""
        return self.scales


class Adversarial(Generative):
    """A generative adversarial network, which does not know classes.

    gan_channels: at the widest resolution of generator and critic. noise_dim: the count of numbers
    that an image is made of. augment: whether the critic sees all images augmented.
    """

    conditional: Literal[False]
    gan_channels: Width
    noise_dim: Annotated[int, Field(ge=4, le=1024)]
    augment: bool


class StyleGan(Adversarial):
    """StyleGAN2. r1_weight: γ of the penalty R1; 0 turns R1 off. r1_every: steps between
    penalties, each of which counts `r1_every` times.
    """

    r1_weight: Weight
    r1_every: Annotated[int, Field(ge=1, le=1000)]


class ProjectedGan(Adversarial):
    """Projected GAN. feature_side: the side of the images that the frozen network sees."""

    feature_side: Literal[64, 128, 224]


# Knob -> the form of its value in the name of a cell, in the order of the name.
SLUGS = {
    "network": "{}",
    "downsampling": "f{}",
    "network_channels": "C{}",
    "network_blocks": "blocks{}",
    "perceptual_weight": "perceptual{}",
    "perceptual_network": "{}",
    "adversarial_weight": "adversarial{}",
    "adversarial_start": "critic{}",
    "residual_depth": "depth{}",
    "channel_groups": "groups{}",
    "codebook_size": "K{}",
    "code_dim": "D{}",
    "distance": "{}",
    "anchors": "{}",
    "schedule": "{}",
    "contrastive": "contrastive",
    "commitment_weight": "commitment{}",
    "codebook_weight": "codebook{}",
    "contrastive_weight": "contrastive_weight{}",
    "sq_initial_variance": "variance{}",
    "sq_final_temperature": "tau{}",
    "kl_weight": "kl{}",
    "conditional": "conditional",
    "label_dropout": "dropout{}",
    "unet_channels": "U{}",
    "unet_multipliers": "levels{}",
    "unet_blocks": "blocks{}",
    "attention_levels": "attention{}",
    "head_channels": "heads{}",
    "noise_steps": "T{}",
    "noise_schedule": "{}",
    "noise_start": "start{}",
    "noise_end": "end{}",
    "diffusion_loss": "{}",
    "transformer_width": "W{}",
    "transformer_layers": "layers{}",
    "depth_layers": "depth_layers{}",
    "soft_temperature": "soft{}",
    "scales": "scales{}",
    "gan_channels": "G{}",
    "noise_dim": "z{}",
    "augment": "augment",
    "r1_weight": "r1_{}",
    "r1_every": "every{}",
    "feature_side": "features{}",
    "ema_decay": "ema{}",
    "epochs": "epochs{}",
    "batch_size": "B{}",
    "learning_rate": "lr{}",
    "warmup_steps": "warmup{}",
    "precision": "{}",
    "train_images": "N{}",
    "sampling_steps": "steps{}",
    "eta": "eta{}",
    "guidance": "guidance{}",
    "temperature": "temperature{}",
    "top_k": "top{}",
    "samples": "samples{}",
}
# A row, a role and a seed decide these knobs; no setting does.
IDENTITY = ("dataset", "method", "seed", "first_stage")


def variant(knobs: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    """Return the third part of a cell's name: the knobs that differ from `start`, or "default".

    Knobs without a slug come last, with name and value.
    """
    names = [name for name in {**SLUGS, **knobs} if name in knobs and name not in IDENTITY]
    different = [name for name in names if knobs[name] != start.get(name)]
    return "-".join(_slug(name, knobs[name]) for name in different) or "default"


def _slug(name: str, value: Any) -> str:
    """Return a short form such as D4, or no_contrastive for a flag that is off."""
    pattern = SLUGS.get(name, name if isinstance(value, bool) else name + "{}")
    if isinstance(value, bool):
        return pattern if value else f"no_{pattern}"
    if isinstance(value, list):
        value = ".".join(map(str, value))
    return pattern.format("all" if value is None else value)
