"""Names that several kinds of files use: roles, metrics and protocols."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from workflows.errors import nearest


@dataclass(frozen=True)
class Role:
    """The part that a dataset plays in tables.

    paper: the paper's dataset in that part. own: whether a stand-in says itself what it stands in
    for; CIFAR10 does not, but among what is generated it stands in for ImageNet. generated: whether
    models of stage 2 generate its images.
    """

    paper: str
    own: bool = False
    generated: bool = False


ROLES = {
    "digits": Role("mnist", own=True),
    "natural": Role("cifar10", own=True),
    "faces": Role("ffhq", own=True),
    "photographs": Role("imagenet"),
    "churches": Role("lsun_churches", generated=True),
    "bedrooms": Role("lsun_bedrooms", generated=True),
    "portraits": Role("ffhq", generated=True),
    "objects": Role("imagenet", generated=True),
}
# Metrics of reconstructions, and of samples; True where a larger value is better. The error is that
# of latents, which is measured where encoder and decoder are frozen.
RECONSTRUCTION_METRICS = {
    "l1": False,
    "PSNR": True,
    "SSIM": True,
    "LPIPS": False,
    "LPIPS-Alex": False,
    "rFID": False,
    "KID": False,
    "usage": True,
    "perplexity": True,
    "error": False,
}
# KID-deviation is the standard error of KID. Bits are of a code that was not trained on.
SAMPLE_METRICS = {
    "FID": False,
    "KID": False,
    "KID-deviation": False,
    "precision": True,
    "recall": True,
    "bits": False,
}
# What a training says of itself: numbers that are trained, images that it saw, repeats counted,
# minutes, and milliseconds a step.
RUN_METRICS = {"parameters": False, "seen": False, "minutes": False, "step": False}
# Metrics that say nothing about quality, so that no row is best.
UNRANKED = {*RUN_METRICS, "KID-deviation"}
METRICS = {**RECONSTRUCTION_METRICS, **SAMPLE_METRICS, **RUN_METRICS}
# The protocols of reconstructions; samples have one of their own.
Protocol = Literal["exact", "as_published"]
SAMPLES = "samples"


def one_of(allowed: Collection[str], what: str) -> BeforeValidator:
    """A validator of a name."""

    def check(name: Any) -> Any:
        if name not in list(allowed):
            raise ValueError(f"{what} '{name}' is unknown; {nearest(str(name), allowed)}")
        return name

    return BeforeValidator(check)


def _differ(values: Any) -> Any:
    if len(set(values)) != len(values):
        raise ValueError("the values must differ from each other")
    return values


DIFFERENT = AfterValidator(_differ)
RoleName = Annotated[str, one_of(ROLES, "role")]
MetricName = Annotated[str, one_of(METRICS, "metric")]
# A text in one line.
Line = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\n\r]*$")]
Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
