"""The interface of all quantisers, so that networks, training loops and metrics work with any.

Shapes: B images, an H x W grid of latents, code dimension D, N = B * H * W latents, K codes.
Equations: z is a latent, e its codevector, e_k codevector k, and sg(x) is x without its gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Assignment:
    """Which code each latent of a batch received.

    latents: encoder outputs, one per row, detached from the graph so that no loss trains through
    them. codes: indices in [0, K). If a latent has q codes, they follow each other.
    """

    latents: Float[Tensor, "n d"]
    codes: Int[Tensor, " qn"]


@dataclass(frozen=True)
class Quantised:
    """The result of one forward pass.

    vectors: the chosen codevectors; the method defines how their gradient reaches the encoder.
    codes: indices in [0, K). If a latent has q codes, their q grids are stacked along the height,
    with the grid of the first codes on top; without a codebook q is 0. losses: unweighted scalars
    by name. assignment: the argument of `adapt`.
    """

    vectors: Float[Tensor, "b d h w"]
    codes: Int[Tensor, "b qh w"]
    losses: Mapping[str, Float[Tensor, ""]]
    assignment: Assignment

    @classmethod
    def of_rows(
        cls,
        latents: Float[Tensor, "b d h w"],
        vectors: Float[Tensor, "n d"],
        codes: Int[Tensor, " n"],
        losses: Mapping[str, Float[Tensor, ""]],
    ) -> Quantised:
        """Return the result for latents of one code each, whose `rows` were quantised."""
        b, _, h, _ = latents.shape
        return cls(
            vectors=rearrange(vectors, "(b h w) d -> b d h w", b=b, h=h),
            codes=rearrange(codes, "(b h w) -> b h w", b=b, h=h),
            losses=losses,
            assignment=Assignment(rows(latents.detach()), codes),
        )


@runtime_checkable
class Quantiser(Protocol):
    """A call computes and changes no state; `adapt` changes the state that gradients do not train.

    The state dict holds all history (usage, schedule, temperature), so a resumed run continues the
    same run. The training loop calls `adapt` after `backward` and before the optimiser's step. The
    gradients then belong to the codebook that produced the outputs, and a code that was just
    overwritten still receives its optimiser step, as in the published implementation.
    """

    codebook_size: int | None
    code_dim: int
    codes_per_latent: int

    def __call__(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""

    def decode(self, codes: Int[Tensor, "b qh w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""

    def adapt(self, assignment: Assignment) -> None:
        """Update the state with one training batch."""


def rows(latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "n d"]:
    """Return the latents of a batch, one per row."""
    return rearrange(latents, "b d h w -> (b h w) d")


def codevectors(
    codebook: Float[Tensor, "k d"], codes: Int[Tensor, "b h w"]
) -> Float[Tensor, "b d h w"]:
    """Return the codevector of each code, on the grid of the codes."""
    return rearrange(F.embedding(codes, codebook), "b h w d -> b d h w")


def straight_through(
    latents: Float[Tensor, "*size"], vectors: Float[Tensor, "*size"]
) -> Float[Tensor, "*size"]:
    """Return z + sg(e - z): the values of e, bit for bit, and a gradient for z alone."""
    return vectors.detach() + (latents - latents.detach())
