"""The distance of codevectors from the latents that they replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class LatentError:
    """Sums over all latents that were added, in float64.

    squares: of the errors. latents, latents_squared: for each of the D coordinates. count: of
    latents.
    """

    squares: float = 0.0
    latents: torch.Tensor | float = 0.0
    latents_squared: torch.Tensor | float = 0.0
    count: int = 0

    def add(self, quantised: Any) -> None:
        """Add the latents of a batch, a `Quantised`."""
        latents = quantised.assignment.latents.double()
        vectors = quantised.vectors.permute(0, 2, 3, 1).reshape(latents.shape).double()
        self.squares += float((vectors - latents).square().sum())
        self.latents = self.latents + latents.sum(0)
        self.latents_squared = self.latents_squared + latents.square().sum(0)
        self.count += len(latents)

    def over_variance(self) -> float:
        """Return the mean squared error over the variance, each summed over the coordinates.

        The value is 0 if every latent is a codevector, 1 if every codevector is the mean latent.
        """
        mean = torch.as_tensor(self.latents) / self.count
        variance = torch.as_tensor(self.latents_squared) / self.count - mean.square()
        return self.squares / self.count / float(variance.sum())
