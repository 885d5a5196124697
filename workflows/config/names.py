"""Names that several kinds of files use: roles, metrics and protocols."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from workflows.errors import nearest
from workflows.metrics import OF_CODES, OF_LATENTS, OF_RECONSTRUCTIONS, OF_SAMPLES

Item = TypeVar("Item")


@dataclass(frozen=True)
class Role:
    """The part that a dataset plays in tables.

    paper: the paper's dataset in this role. by_file: whether a dataset's own file says that it is a
    stand-in (`stand_in_for`). For the other roles any dataset but the paper's is a stand-in.
    generated: whether models of stage 2 generate images of this role.
    """

    paper: str
    by_file: bool = False
    generated: bool = False


ROLES = {
    "digits": Role("mnist", by_file=True),
    "natural": Role("cifar10", by_file=True),
    "faces": Role("ffhq", by_file=True),
    "photographs": Role("imagenet"),
    "churches": Role("lsun_churches", generated=True),
    "bedrooms": Role("lsun_bedrooms", generated=True),
    "portraits": Role("ffhq", generated=True),
    "objects": Role("imagenet", generated=True),
}
# Metrics that a training reports itself: the number of trained parameters, the training images seen
# (repeats counted), minutes, and milliseconds of a step.
RUN_METRICS = ("parameters", "seen", "minutes", "step")
# Stage -> the metrics that a table of this stage may show.
STAGE_METRICS = {
    1: (*OF_RECONSTRUCTIONS, *OF_LATENTS, *RUN_METRICS),
    2: (*OF_SAMPLES, *OF_CODES, *RUN_METRICS),
}
LARGER_IS_BETTER = {"PSNR", "SSIM", "usage", "perplexity", "precision", "recall"}
# Metric -> whether a larger value is better.
METRICS = {name: name in LARGER_IS_BETTER for name in (*STAGE_METRICS[1], *STAGE_METRICS[2])}
# Metrics that say nothing about quality, so tables mark no best row. KID-deviation is the standard
# error of KID.
UNRANKED = {*RUN_METRICS, "KID-deviation"}
# The protocols of reconstructions. Samples have a single protocol.
Protocol = Literal["exact", "as_published"]
SAMPLES = "samples"


def one_of(allowed: Collection[str], kind: str) -> BeforeValidator:
    """Return a validator that refuses other names. kind: what the message calls the name."""

    def check(name: Any) -> Any:
        if name not in list(allowed):
            raise ValueError(f"{kind} '{name}' is unknown; {nearest(str(name), allowed)}")
        return name

    return BeforeValidator(check)


def _refuse_repeats(values: list[Item]) -> list[Item]:
    if len(set(values)) != len(values):
        raise ValueError("the values must differ from each other")
    return values


DIFFERENT = AfterValidator(_refuse_repeats)
# A list of at least one value, in which no value is repeated.
Distinct = Annotated[list[Item], Field(min_length=1), DIFFERENT]
RoleName = Annotated[str, one_of(ROLES, "role")]
MetricName = Annotated[str, one_of(METRICS, "metric")]
# A text without line breaks.
Line = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\n\r]*$")]
Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
