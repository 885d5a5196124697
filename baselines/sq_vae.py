"""SQ-VAE, Gaussian variant (I) (Takida et al., ICML 2022): self-annealed quantisation."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised
from models.quantiser.refresh import Step
from models.streams import Purpose, generator


class StochasticQuantiser(nn.Module):
    """A soft sample of the codevectors in training, the nearest codevector in evaluation.

    The logits are -||z_i - b_k||^2 / (2 sigma^2), where sigma^2 = 1 + exp(phi) and phi is learned;
    P is their softmax over k. A training pass returns softmax((logits + Gumbel noise) / tau) B. It
    is neither hardened nor straight-through, so gradients reach encoder, codebook and phi.

    Losses, both averaged over images: `discrete_kl`, the sum over positions of sum_k P log P, which
    is negative because the constant log K of each position is left out; `continuous_kl`, the sum
    over positions of ||z_i - z_q,i||^2 / (2 sigma^2).
    """

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        initial_log_variance: float = math.log(10),
        temperature_decay: float = 1e-5,
        seed: int = 0,
    ) -> None:
        """initial_log_variance: of phi. temperature_decay: tau = exp(-temperature_decay * step)."""
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.temperature_decay = temperature_decay
        self.seed = seed
        self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))
        self.log_variance = nn.Parameter(torch.tensor(float(initial_log_variance)))
        self.step = Step()

    @property
    def temperature(self) -> float:
        """tau of the coming training step; the first step counts as 1."""
        return math.exp(-self.temperature_decay * (self.step.passed + 1))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        b = len(latents)
        flat = rearrange(latents, "b d h w -> (b h w) d")
        # 1 / (2 sigma^2)
        precision = 0.5 / (1 + self.log_variance.exp())
        logits = squared_euclidean(flat, self.codebook) * precision
        log_probability = F.log_softmax(logits, dim=1)
        codes = logits.argmax(1)
        if self.training:
            noise = self._gumbel(logits)
            chosen = F.softmax((logits + noise) / self.temperature, dim=1) @ self.codebook
        else:
            chosen = F.embedding(codes, self.codebook)
        losses = {
            "discrete_kl": (log_probability.exp() * log_probability).sum() / b,
            "continuous_kl": (flat - chosen).square().sum() * precision / b,
        }
        return Quantised.of_rows(latents.shape, flat, chosen, codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    @torch.no_grad()
    def adapt(self, _: Assignment) -> None:
        """Advance the step that anneals the temperature and seeds the noise."""
        self.step.passed += 1

    @torch.no_grad()
    def _gumbel(self, logits: Tensor) -> Tensor:
        stream = generator(self.seed, Purpose.CODES, self.step.passed, logits.device)
        uniform = torch.rand(logits.shape, generator=stream, device=logits.device)
        # At 0 and 1 the double logarithm is infinite.
        tiny = torch.finfo(uniform.dtype).tiny
        return uniform.clamp_(tiny, 1 - 6e-8).log_().neg_().log_().neg_()
