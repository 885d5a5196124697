"""SQ-VAE (Takida et al. 2022), Gaussian variant (I), as the authors use for MNIST and CIFAR10."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, codevectors, rows
from models.quantiser.refresh import Step
from models.streams import Purpose, generator


class StochasticQuantiser(nn.Module):
    """A soft sample of the codevectors in training, the nearest codevector in evaluation.

    The logits are -|z_i - e_k|^2 / (2 sigma^2), where sigma^2 = 1 + exp(phi) and phi is learned,
    and P is their softmax over k. In training the vector is softmax((logits + Gumbel noise) / tau)
    E, where E is the codebook. The sample is neither hardened nor straight-through, so gradients
    reach encoder, codebook and phi.

    Both losses are sums over positions, averaged over images. `discrete_kl` sums sum_k P log P; it
    is negative because the constant log K of each position is left out. `continuous_kl` sums
    |z_i - vector_i|^2 / (2 sigma^2).
    """

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        initial_log_variance: float,
        temperature_decay: float,
        seed: int,
    ) -> None:
        """codebook_size: K. code_dim: D. initial_log_variance: of phi. temperature_decay: tau is
        exp(-temperature_decay * step). seed: of the Gumbel noise.
        """
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.temperature_decay = temperature_decay
        self.seed = seed
        self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))
        self.log_variance = nn.Parameter(torch.tensor(initial_log_variance))
        self.step = Step()

    @property
    def temperature(self) -> float:
        """The temperature tau of the coming training step; the first step counts as 1."""
        return math.exp(-self.temperature_decay * (self.step.passed + 1))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        z = rows(latents)
        # 1 / (2 sigma^2)
        precision = 0.5 / (1 + self.log_variance.exp())
        logits = squared_euclidean(z, self.codebook) * precision
        log_p = F.log_softmax(logits, dim=1)
        codes = logits.argmax(1)
        if self.training:
            noise = self._gumbel(logits)
            vectors = F.softmax((logits + noise) / self.temperature, dim=1) @ self.codebook
        else:
            vectors = F.embedding(codes, self.codebook)
        losses = {
            "discrete_kl": (log_p.exp() * log_p).sum() / len(latents),
            "continuous_kl": (z - vectors).square().sum() * precision / len(latents),
        }
        return Quantised.of_rows(latents, vectors, codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    def adapt(self, assignment: Assignment) -> None:
        """Advance the step that anneals the temperature and seeds the noise."""
        self.step.passed += 1

    @torch.no_grad()
    def _gumbel(self, logits: Tensor) -> Tensor:
        stream = generator(self.seed, Purpose.CODES, self.step.passed, logits.device)
        uniform = torch.rand(logits.shape, generator=stream, device=logits.device)
        # At 0 and 1 the double logarithm is infinite.
        tiny = torch.finfo(uniform.dtype).tiny
        return uniform.clamp_(tiny, 1 - 6e-8).log_().neg_().log_().neg_()
