"""What every quantiser takes and returns, so that encoders, loops and metrics need not know which.

Shapes: B images, an H x W grid, code dimension D, N = B * H * W latents, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from einops import rearrange
from jaxtyping import Float, Int
from torch import Size, Tensor

# Of vectors (n, d) and others (k, d): a matrix (n, k); a larger number means closer.
Similarity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Assignment:
    """Which code each latent of a batch received; detached, so that reading it cannot train.

    latents: encoder outputs, one a row. codes: indices in [0, K). Where a latent has q codes, they
    follow each other.
    """

    latents: Float[Tensor, "n d"]
    codes: Int[Tensor, " qn"]


@dataclass(frozen=True)
class Quantised:
    """The outcome of one forward pass.

    vectors: the chosen codevectors; the method defines how their gradient reaches the encoder.
    codes: indices in [0, K). Where a latent has q codes, their q grids are stacked along the
    height, that of the first codes on top; without a codebook q is 0. losses: name ->
    unweighted scalar. assignment: the argument of `adapt`.
    """

    vectors: Float[Tensor, "b d h w"]
    codes: Int[Tensor, "b qh w"]
    losses: Mapping[str, Float[Tensor, ""]]
    assignment: Assignment

    @classmethod
    def of_rows(
        cls,
        shape: Size,
        latents: Float[Tensor, "n d"],
        vectors: Float[Tensor, "n d"],
        codes: Int[Tensor, " n"],
        losses: Mapping[str, Float[Tensor, ""]],
    ) -> Quantised:
        """The outcome of latents (b, d, h, w) of one code each that were taken as rows."""
        b, _, h, _ = shape
        return cls(
            vectors=rearrange(vectors, "(b h w) d -> b d h w", b=b, h=h),
            codes=rearrange(codes, "(b h w) -> b h w", b=b, h=h),
            losses=losses,
            assignment=Assignment(latents.detach(), codes),
        )


@runtime_checkable
class Quantiser(Protocol):
    """A call computes and changes nothing; `adapt` changes what gradients do not.

    All history (usage, schedule, temperature) is in the state dict, so that a resumed run continues
    the same run. The loop calls `adapt` after `backward` and before the optimiser's step. The
    gradients then belong to the codebook that produced the outputs, and a code that was just
    overwritten still receives its optimiser step, as in the published implementation.
    """

    codebook_size: int | None
    code_dim: int
    codes_per_latent: int

    def __call__(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents; changes no state."""
        ...

    def decode(self, codes: Int[Tensor, "b qh w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        ...

    def adapt(self, assignment: Assignment) -> None:
        """Take one batch into the state that gradients do not train."""
        ...


def straight_through(
    latents: Float[Tensor, "*size"], vectors: Float[Tensor, "*size"]
) -> Float[Tensor, "*size"]:
    """z + sg(e - z): forward the vectors e, bit for bit; backward the gradient to the latents z."""
    return vectors.detach() + (latents - latents.detach())
