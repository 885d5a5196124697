"""The KL-regularised autoencoder of latent diffusion (Rombach et al. 2022, appendix G).

Each latent is drawn from a normal distribution that a small penalty keeps near N(0, 1). The latents
therefore stay bounded without a codebook. Departure: the published encoder gives the mean and the
variance of every coordinate. Every encoder of this benchmark gives D coordinates, so here these are
the mean, and a 1 x 1 convolution of the mean gives the logarithm of the variance.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from baselines.controls import NoQuantiser
from models.quantiser.interface import Assignment, Quantised
from models.quantiser.refresh import Step
from models.streams import Purpose, generator

# Bounds of the logarithm of the variance, as in the published code.
LOG_VARIANCE = (-30.0, 20.0)


class NormalLatents(nn.Module):
    """Latents are drawn from N(mean, variance) in training and are the mean in evaluation.

    The loss `kl` is the divergence from N(0, 1), 1/2 sum (mean^2 + variance - 1 - log variance),
    summed over all coordinates of an image and averaged over images.
    """

    codebook_size = None
    codes_per_latent = 0

    def __init__(self, code_dim: int, seed: int) -> None:
        """code_dim: D. seed: of the noise."""
        super().__init__()
        self.code_dim = code_dim
        self.seed = seed
        self.log_variance = nn.Conv2d(code_dim, code_dim, 1)
        self.step = Step()
        self.without_codes = NoQuantiser(code_dim)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Draw the latents, whose means are `latents`."""
        log_variance = self.log_variance(latents).clamp(*LOG_VARIANCE)
        kl = 0.5 * (latents.square() + log_variance.exp() - 1 - log_variance).sum() / len(latents)
        sample = latents
        if self.training:
            stream = generator(self.seed, Purpose.CODES, self.step.passed, latents.device)
            noise = torch.randn(latents.shape, generator=stream, device=latents.device)
            sample = latents + noise * (0.5 * log_variance).exp()
        plain = self.without_codes(latents)
        return Quantised(sample, plain.codes, {"kl": kl}, plain.assignment)

    def decode(self, codes: Int[Tensor, "b 0 w"]) -> Float[Tensor, "b d h w"]:
        """Raise TypeError, because no codes describe the latents."""
        return self.without_codes.decode(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Advance the step that seeds the noise."""
        self.step.passed += 1
