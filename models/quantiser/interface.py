"""The interface of all quantisers, so that networks, training loops and metrics work with any.

Shapes: B images, an H x W grid of latents, code dimension D, N = B * H * W latents, K codes.
Equations: z is a latent, e its codevector, e_k codevector k, and sg(x) is x without its gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

# The vectors, codes and losses of N latents; see `Quantised`.
Outcome = tuple[Float[Tensor, "n d"], Int[Tensor, " n"], dict[str, Float[Tensor, ""]]]


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
        ...

    def decode(self, codes: Int[Tensor, "b qh w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        ...

    def adapt(self, assignment: Assignment) -> None:
        """Update the state with one training batch."""
        ...


class SingleCodeQuantiser(nn.Module):
    """Base class of the quantisers that give each latent one code and ignore its neighbours.

    A subclass writes its equations into `_quantise`. It overrides `decode` if it has no `codebook`
    (k, d), and `adapt` if it has state that gradients do not train.
    """

    codes_per_latent = 1
    codebook: Any

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__()
        self.codebook_size = codebook_size
        self.code_dim = code_dim

    def _quantise(self, z: Float[Tensor, "n d"]) -> Outcome:
        raise NotImplementedError

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        b, _, h, _ = latents.shape
        z = rearrange(latents, "b d h w -> (b h w) d")
        vectors, codes, losses = self._quantise(z)
        return Quantised(
            vectors=rearrange(vectors, "(b h w) d -> b d h w", b=b, h=h),
            codes=rearrange(codes, "(b h w) -> b h w", b=b, h=h),
            losses=losses,
            assignment=Assignment(z.detach(), codes),
        )

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing: gradients train all state."""


def straight_through(
    latents: Float[Tensor, "*size"], vectors: Float[Tensor, "*size"]
) -> Float[Tensor, "*size"]:
    """Return z + sg(e - z): the values of e, bit for bit, and a gradient for z alone."""
    return vectors.detach() + (latents - latents.detach())
