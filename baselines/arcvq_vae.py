"""ArcVQ-VAE (arXiv 2605.13517): VQ-VAE by angle, with an arc-margin loss and a ball of codevectors.

Departure: the published code puts codevectors back into the ball before a batch, and here that is
done after the batch, so that a call changes nothing; one may stand outside by one step of the
optimiser. Its reconstruction term divides by the variance of images in [-1, 1], which is
`mse_over_4_variances` of models/objectives.py.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import cosine
from models.quantiser.interface import Assignment, Quantised
from models.quantiser.refresh import Step

# Of the arc-margin loss: s, m in radians, positives of a codevector, and its decay a step.
SHARPNESS, MARGIN, POSITIVES, DECAY = 5.0, 0.1, 3, 5e-4
# The ball's radius is exp(GROWTH * step).
GROWTH = 3e-4


class ArcMarginQuantiser(ClusteredQuantiser):
    """VQ-VAE whose codes are those of the smallest angle, with one more loss, `arc`.

    `arc`: exp(-DECAY * step) times the arc-margin loss. Codevectors start on the unit sphere, and
    those outside a ball, whose radius grows with the steps, are put back onto its surface.
    """

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__(codebook_size, code_dim, cosine)
        self.codebook.data = F.normalize(self.codebook.data, dim=1)
        self.step = Step()

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        found = super().forward(latents)
        z = latents.permute(0, 2, 3, 1).flatten(0, 2)
        arc = math.exp(-DECAY * self.step.passed) * arc_margin_loss(z, self.codebook.detach())
        return replace(found, losses={**found.losses, "arc": arc})

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Put codevectors back into the ball."""
        self.codebook.data = self.codebook.renorm(2, 0, math.exp(GROWTH * self.step.passed))
        self.step.passed += 1


def arc_margin_loss(
    latents: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"]
) -> Float[Tensor, ""]:
    """L = mean_k -log(sum_{i in P} exp(s l_ki) / sum_i exp(s l_ki)), at least 0.

    P are the POSITIVES latents of the smallest angle a_ki to codevector k. The logit l_ki is
    cos(a_ki), for those in P cos(a_ki + m). It trains the encoder alone.
    """
    logits = cosine(codebook, latents)
    nearest, places = logits.topk(min(POSITIVES, len(latents)), dim=1)
    # At an angle of 0 the arc cosine has no gradient.
    angles = nearest.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    positives = SHARPNESS * (angles + MARGIN).cos()
    whole = (SHARPNESS * logits).scatter(1, places, positives)
    return (whole.logsumexp(1) - positives.logsumexp(1)).mean()
