"""The settings of one training, typed. The registry says which of them a method and a network take.

A cell's name holds the value of every knob that differs from what its row starts from (SLUGS).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from workflows.errors import nearest

# The type of a problem that this module explains.
UNKNOWN_KEY = "unknown_key"
Weight = Annotated[float, Field(ge=0)]
Dimension = Annotated[int, Field(ge=1, le=4096)]
MOST_CODES = 1_048_576


class Closed(BaseModel):
    """A frozen type that takes no other keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_is_allowed(cls, content: Any, handler: Any) -> Any:
        """Add the nearest and all allowed keys to the message about an unknown key."""
        try:
            return handler(content)
        except ValidationError as error:
            problems: list[Any] = []
            for problem in error.errors(include_url=False):
                kind: Any = problem["type"]
                text = problem["msg"]
                if kind == "extra_forbidden" and len(problem["loc"]) == 1:
                    text = f"unknown key; {nearest(str(problem['loc'][0]), list(cls.model_fields))}"
                    kind = UNKNOWN_KEY
                if kind == UNKNOWN_KEY:
                    kind = PydanticCustomError(UNKNOWN_KEY, "{text}", {"text": text})
                problems.append({**problem, "type": kind})
            raise ValidationError.from_exception_data(cls.__name__, problems) from None


class Run(Closed):
    """What every training takes. train_images: the first so many, or None for all."""

    dataset: str
    method: str
    seed: Annotated[int, Field(ge=0, le=1_000_000)]
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    precision: Literal["fp32", "bf16", "tf32"]
    train_images: Annotated[int, Field(ge=1)] | None


class Training(Run):
    """What every training of an autoencoder takes (stage 1)."""

    stage: ClassVar[Literal[1, 2]] = 1
    network: str = "convnet"


class Continuous(Training):
    """An autoencoder without a codebook, whose latents have D = code_dim coordinates."""

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
    """VQ-VAE: the nearest codevector, trained by the codebook loss."""

    codebook_weight: Weight


class Refreshed(Nearest):
    """VQ-VAE with anchors for dead codevectors (paper, section 3)."""

    anchors: Literal["random", "unique", "probability", "closest", "farthest"]
    schedule: Literal["online", "offline"]


class Clustered(Refreshed):
    """CVQ-VAE, with or without the contrastive term."""

    contrastive: bool
    contrastive_weight: Weight


class Contrastive(Refreshed):
    """CVQ-VAE with the contrastive term."""

    contrastive_weight: Weight


class Stochastic(Codebook):
    """SQ-VAE: the variance at the first step and the temperature at the last."""

    sq_initial_variance: Annotated[float, Field(gt=0)]
    sq_final_temperature: Annotated[float, Field(gt=0, le=1)]


class Residual(Codebook):
    """RQ-VAE: residual_depth codes a latent, each quantising what the ones before left."""

    residual_depth: Annotated[int, Field(ge=1, le=64)]
    commitment_weight: Weight


class Multichannel(Nearest):
    """MoVQ: one code for each of channel_groups groups of a latent's coordinates."""

    channel_groups: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _divides(self) -> Multichannel:
        if self.code_dim % self.channel_groups:
            raise ValueError(
                f"code_dim: {self.code_dim} is not a multiple of channel_groups: "
                f"{self.channel_groups}"
            )
        return self


class Finite(Training):
    """FSQ: one coordinate for each number of levels; K is their product."""

    levels: Annotated[list[Annotated[int, Field(ge=3, le=256)]], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _few_enough(self) -> Finite:
        if math.prod(self.levels) > MOST_CODES:
            raise ValueError(f"levels: their product is above {MOST_CODES:,}")
        return self


class Binary(Training):
    """LFQ and BSQ: code_bits coordinates, one bit each; K = 2^code_bits."""

    code_bits: Annotated[int, Field(ge=1, le=20)]
    commitment_weight: Weight
    entropy_weight: Weight
    entropy_temperature: Annotated[float, Field(gt=0)]


class Expiring(Codebook):
    """VQ-VAE by moving averages; a code with a count below `expiry` expires, at 0 none does."""

    decay: Annotated[float, Field(ge=0, lt=1)]
    expiry: Annotated[float, Field(ge=0)]
    commitment_weight: Weight


class Trained(Codebook):
    """A codebook trained by the codebook loss, searched as the method says."""

    commitment_weight: Weight
    codebook_weight: Weight


class IndexPropagated(Trained):
    """IBQ, with its entropies."""

    entropy_weight: Weight
    entropy_temperature: Annotated[float, Field(gt=0)]


class Transported(Codebook):
    """VQ-WAE: the weights of transport and of the divergence of codes' weights from uniform."""

    transport_weight: Weight
    weights_kl_weight: Weight


class GaussianMatched(Trained):
    """Wasserstein VQ."""

    wasserstein_weight: Weight


class ArcMargin(Trained):
    """ArcVQ-VAE."""

    arc_weight: Weight


class Vqgan(Closed):
    """VQGAN's encoder, decoder and losses. adversarial_start: the first step, counted from 0, in
    which the critic takes part.
    """

    downsampling: Literal[4, 8, 16]
    network_channels: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
    network_blocks: Annotated[int, Field(ge=1, le=8)]
    perceptual_weight: Weight
    perceptual_network: Literal["vgg", "alex"]
    adversarial_weight: Weight
    adversarial_start: Annotated[int, Field(ge=0)]


class Frozen(Closed):
    """Encoder and decoder of a trained autoencoder, which stay as they are while a quantiser is
    trained on its latents. first_stage: id of that autoencoder's cell.
    """

    first_stage: str


class Generative(Run):
    """What every generative model takes (stage 2).

    first_stage: id of the cell whose latents or codes it models; None for a model of pixels.
    conditional: whether samples are asked for by class. ema_decay: of the averaged weights, which
    are what is kept. SAMPLING: the knobs that sampling reads and training does not.
    """

    stage: ClassVar[Literal[1, 2]] = 2
    SAMPLING: ClassVar[tuple[str, ...]] = ("samples",)
    first_stage: str | None
    conditional: bool
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
    # A line of the picture of samples has eight.
    samples: Annotated[int, Field(ge=8, le=1_000_000)]

    @property
    def passes(self) -> int:
        """How often the network runs to make a sample."""
        return 1


class Diffusion(Generative):
    """A diffusion model.

    label_dropout: how often training hides the class, which guidance needs. attention_levels: so
    many of the lowest resolutions attend. noise_schedule: `linear` has betas in even steps,
    `scaled_linear` their square roots. guidance: 1 is off; else the noise without the class plus so
    many times what the class adds.
    """

    SAMPLING: ClassVar[tuple[str, ...]] = ("sampling_steps", "eta", "guidance", "samples")
    sampling_steps: Annotated[int, Field(ge=1, le=10_000)]
    eta: Annotated[float, Field(ge=0, le=1)]
    guidance: Annotated[float, Field(ge=1, le=100)]
    label_dropout: Annotated[float, Field(ge=0, lt=1)]
    unet_channels: Annotated[int, Field(ge=8, le=1024, multiple_of=8)]
    unet_multipliers: Annotated[
        list[Annotated[int, Field(ge=1, le=16)]], Field(min_length=1, max_length=6)
    ]
    unet_blocks: Annotated[int, Field(ge=1, le=8)]
    attention_levels: Annotated[int, Field(ge=0, le=6)]
    head_channels: Annotated[int, Field(ge=8, le=1024)]
    noise_steps: Annotated[int, Field(ge=2, le=10_000)]
    noise_schedule: Literal["linear", "scaled_linear"]
    noise_start: Annotated[float, Field(gt=0, lt=1)]
    noise_end: Annotated[float, Field(gt=0, lt=1)]
    diffusion_loss: Literal["l1", "l2"]

    @property
    def passes(self) -> int:
        """Twice with guidance."""
        return self.sampling_steps * (1 if self.guidance == 1 else 2)

    @model_validator(mode="after")
    def _fits_together(self) -> Diffusion:
        if self.noise_steps % self.sampling_steps:
            # Sampling would begin below the last time, with more noise than images have there.
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
        # The block below the last level always attends.
        attending = widths[max(0, len(widths) - self.attention_levels) :] or widths[-1:]
        if self.head_channels > min(attending):
            raise ValueError(
                f"head_channels: {self.head_channels} is more than the {min(attending)} channels "
                f"of a level that attends; allowed: 8 to {min(attending)}"
            )
        return self


class Prior(Generative):
    """A transformer that models codes, in heads of 32 numbers. temperature: what the logits of a
    sample are divided by.
    """

    SAMPLING: ClassVar[tuple[str, ...]] = ("temperature", "samples")
    transformer_width: Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
    transformer_layers: Annotated[int, Field(ge=1, le=64)]
    temperature: Annotated[float, Field(gt=0, le=10)]


class ResidualPrior(Prior):
    """RQ-Transformer: transformer_layers over places, then depth_layers over the codes of a place.

    soft_temperature: in squared latents, of soft targets and of the codes drawn in training; 0
    turns both off. top_k: samples have the likeliest codes alone, None for all.
    """

    SAMPLING: ClassVar[tuple[str, ...]] = ("temperature", "top_k", "samples")
    depth_layers: Annotated[int, Field(ge=1, le=64)]
    soft_temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=1, le=MOST_CODES)] | None


class MaskedPrior(Prior):
    """A transformer that predicts hidden codes. temperature: of the noise that the first step of
    sampling adds to the logarithm of how likely a place's codes are.
    """

    SAMPLING: ClassVar[tuple[str, ...]] = ("sampling_steps", *Prior.SAMPLING)
    sampling_steps: Annotated[int, Field(ge=1, le=10_000)]

    @property
    def passes(self) -> int:
        """Every step looks at all codes."""
        return self.sampling_steps


class MultinomialPrior(Prior):
    """A chain of transformers that undo multinomial diffusion. scales: how many of them.
    transformer_layers: of each encoder and of each decoder.
    """

    scales: Annotated[int, Field(ge=2, le=16)]

    @property
    def passes(self) -> int:
        """What was computed for earlier codes is kept, so each transformer counts once."""
        return self.scales


class Adversarial(Generative):
    """A generative adversarial network, which does not know classes.

    gan_channels: of the generator's and the critic's widest resolution. noise_dim: numbers that an
    image is made of. augment: whether real and generated images are changed alike before the critic
    sees them.
    """

    conditional: Literal[False]
    gan_channels: Annotated[int, Field(ge=8, le=1024, multiple_of=8)]
    noise_dim: Annotated[int, Field(ge=4, le=1024)]
    augment: bool


class StyleGan(Adversarial):
    """StyleGAN2. r1_weight: of half the critic's squared slope by real images; 0 leaves that out.
    r1_every: the term is part of every so many-th step, and weighs so many times as much there.
    """

    r1_weight: Weight
    r1_every: Annotated[int, Field(ge=1, le=1000)]


class ProjectedGan(Adversarial):
    """Projected GAN. feature_side: what images are resized to before the frozen network."""

    feature_side: Literal[64, 128, 224]


class HasKnobs:
    """What cells say of themselves by their knobs."""

    knobs: Training | Generative

    @property
    def dataset(self) -> str:
        """The name of the dataset that the cell is trained on."""
        return self.knobs.dataset

    @property
    def first_stage(self) -> str | None:
        """Id of the cell on whose latents this one is trained; None for a training on images."""
        return getattr(self.knobs, "first_stage", None)

    @property
    def stage(self) -> int:
        """1: an autoencoder. 2: a generative model."""
        return self.knobs.stage


# Knob -> how a cell's name shows its value, in the order of the name.
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
# What says which run a cell is. A row, a role and a seed decide these, not a setting.
IDENTITY = ("dataset", "method", "seed", "first_stage")


def variant(knobs: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    """The third part of a cell's name: the knobs that differ from `start`, or "default".

    A knob without a slug is shown as its name and value.
    """
    names = [name for name in {**SLUGS, **knobs} if name in knobs and name not in IDENTITY]
    different = [name for name in names if knobs[name] != start.get(name)]
    return "-".join(_slug(name, knobs[name]) for name in different) or "default"


def _slug(name: str, value: Any) -> str:
    """Such as D4; a flag that is turned off is no_contrastive."""
    pattern = SLUGS.get(name, name if isinstance(value, bool) else name + "{}")
    if isinstance(value, bool):
        return pattern if value else f"no_{pattern}"
    if isinstance(value, list):
        value = ".".join(map(str, value))
    return pattern.format("all" if value is None else value)
