"""What every quantiser takes and gives, so that encoders, loops and metrics need not know which.

Shapes: B images, an H x W grid, code dimension D, N = B * H * W latents, K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


class ShapeError(ValueError):
    """A tensor whose shape does not fit; the message names it and what was expected."""


@dataclass(frozen=True)
class Assignment:
    """Which code each latent of a batch received; detached, so reading it cannot train.

    latents: encoder outputs, one a row. codes: indices in [0, K); of q codes a latent q in a row.
    """

    latents: Float[Tensor, "n d"]
    codes: Int[Tensor, " qn"]


@dataclass(frozen=True)
class Quantised:
    """The outcome of one forward pass.

    vectors: the chosen codevectors; their gradient goes to the encoder as the method defines it.
    codes: indices in [0, K); of q codes a latent (q h, w) of them, all first ones on top. losses:
    name -> unweighted scalar. assignment: what `adapt` needs.
    """

    vectors: Float[Tensor, "b d h w"]
    codes: Int[Tensor, "b qh w"]
    losses: Mapping[str, Float[Tensor, ""]]
    assignment: Assignment


@runtime_checkable
class Quantiser(Protocol):
    """Calling computes and changes nothing; `adapt` changes what gradients do not.

    All history (usage, schedule, temperature) is in the state dict, so a resumed run is the same
    run. The loop calls `adapt` after `backward` and before the optimiser's step: gradients then
    belong to the codebook that produced the outputs, and a code overwritten by its anchor still
    receives its optimiser step, the order of the published implementation.
    """

    codebook_size: int
    code_dim: int
    # Codes of one place, where there are several, are stacked along the height of `codes`.
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


def check_latents(latents: Tensor, code_dim: int) -> None:
    """Refuse latents that are not (b, code_dim, h, w). Raises ShapeError."""
    if latents.ndim != 4 or latents.shape[1] != code_dim:
        raise ShapeError(
            f"latents: expected shape (b, {code_dim}, h, w), got {tuple(latents.shape)}"
        )


def check_codes(codes: Tensor, codebook_size: int) -> None:
    """Refuse codes that are not (b, h, w) integers in [0, codebook_size). Raises ShapeError."""
    if codes.ndim != 3 or codes.is_floating_point():
        raise ShapeError(
            f"codes: expected integers of shape (b, h, w), got {codes.dtype} {tuple(codes.shape)}"
        )
    if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < codebook_size):
        raise ShapeError(f"codes: expected values in [0, {codebook_size})")
