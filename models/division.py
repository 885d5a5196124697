"""What a loss must know of a batch that is divided over several processes.

Every process computes the loss of the whole batch, of which it holds a part of the images; the
optimiser takes the average of their gradients. A loss that is linear in means over images would
need no more than that average, but the logarithm of a mean does, and so does a weight that is
found from gradients.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Division(Protocol):
    """Of one batch, as one of its processes sees it."""

    def whole(self, mean: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The mean over the images of the batch, from that over the process's own; with a graph."""
        ...

    def average(self, gradient: Tensor) -> Tensor:
        """The gradient of a loss of the whole batch, from what the process's graph gives of it."""
        ...

    def gather(self, part: Tensor) -> Tensor:
        """Values (b, ...) of all images of the batch, from the process's own; with a graph."""
        ...


class Undivided:
    """One process has all images."""

    def whole(self, mean: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """As it is."""
        return mean

    def average(self, gradient: Tensor) -> Tensor:
        """As it is."""
        return gradient

    def gather(self, part: Tensor) -> Tensor:
        """As it is."""
        return part


UNDIVIDED = Undivided()
