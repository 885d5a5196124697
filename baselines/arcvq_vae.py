"""ArcVQ-VAE (arXiv 2605.13517): VQ-VAE by angle with an arc-margin loss and a ball of codevectors.

Departure: the published code puts codevectors back into the ball before a batch. Here that happens
after the batch, so that a call changes no state, and a codevector may stand outside the ball by one
step of the optimiser. The published reconstruction term divides by the variance of images in
[-1, 1]; that is the objective `mse_over_4_variances` of workflows/registry.py.
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
from models.quantiser.interface import Assignment, Quantised, rows
from models.quantiser.refresh import Step

# The arc-margin loss: scale s, margin m in radians, positives per codevector, decay per step.
SHARPNESS, MARGIN, POSITIVES, DECAY = 5.0, 0.1, 3, 5e-4
# The radius of the ball is exp(GROWTH * step).
GROWTH = 3e-4


class ArcMarginQuantiser(ClusteredQuantiser):
    """VQ-VAE whose code is the codevector of the smallest angle, with one more loss, `arc`.

    The loss `arc` is exp(-DECAY * step) times `arc_margin_loss`. Codevectors start on the unit
    sphere. The ball grows with the steps, and codevectors outside are moved onto its surface.
    """

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__(codebook_size, code_dim, cosine)
        self.codebook.data = F.normalize(self.codebook.data, dim=1)
        self.step = Step()

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        quantised = super().forward(latents)
        arc = math.exp(-DECAY * self.step.passed) * arc_margin_loss(rows(latents), self.codebook)
        return replace(quantised, losses={**quantised.losses, "arc": arc})

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Put codevectors back into the ball."""
        self.codebook.data = self.codebook.renorm(2, 0, math.exp(GROWTH * self.step.passed))
        self.step.passed += 1


def arc_margin_loss(
    latents: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"]
) -> Float[Tensor, ""]:
    """Return L = mean_k -log(sum_{i in P_k} exp(s l_ki) / sum_i exp(s l_ki)), at least 0.

    P_k are the POSITIVES latents with the smallest angles a_ki to codevector k. The logit l_ki is
    cos(a_ki + m) for latents in P_k and cos(a_ki) for the others. The codebook is detached, so the
    loss trains the encoder alone.
    """
    logits = cosine(codebook.detach(), latents)
    closest, positions = logits.topk(min(POSITIVES, len(latents)), dim=1)
    # At an angle of 0 the arc cosine has no gradient.
    angles = closest.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    positives = SHARPNESS * (angles + MARGIN).cos()
    all_logits = (SHARPNESS * logits).scatter(1, positions, positives)
    return (all_logits.logsumexp(1) - positives.logsumexp(1)).mean()
