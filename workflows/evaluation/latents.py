"""How far codevectors are from the latents that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class LatentError:
    """Sums over the latents of batches that were added, in float64.

    squares: of the errors. latents, latents_squared: over each of the D coordinates. count: N.
    """

    squares: float = 0.0
    latents: torch.Tensor | float = 0.0
    latents_squared: torch.Tensor | float = 0.0
    count: int = 0

    def add(self, quantised: Any) -> None:
        """Take in a batch, a `Quantised`."""
        rows = quantised.assignment.latents.double()
        vectors = quantised.vectors.permute(0, 2, 3, 1).reshape(rows.shape).double()
        self.squares += float((vectors - rows).square().sum())
        self.latents = self.latents + rows.sum(0)
        self.latents_squared = self.latents_squared + rows.square().sum(0)
        self.count += len(rows)

    def over_variance(self) -> float:
        """The mean squared error over the variance of the latents, both summed over coordinates: 0
        if every latent is a codevector, 1 if all codevectors are the mean latent.
        """
        mean = torch.as_tensor(self.latents) / self.count
        variance = torch.as_tensor(self.latents_squared) / self.count - mean.square()
        return self.squares / self.count / float(variance.sum())
