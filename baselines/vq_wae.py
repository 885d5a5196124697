"""VQ-WAE (Vuong et al., ICML 2023): latents are transported to codevectors that have weights.

From the paper's equations. Departures: transport is regularised by entropy and solved in its dual
form by Sinkhorn's iterations, where the authors' code solves it exactly or trains networks for the
dual; all places of the grid share one transport and one set of weights, as in the authors' dual
form; the reconstruction term is divided by the variance, as for every other row.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, straight_through

# The entropy's weight relative to the mean cost. It falls over the iterations, which then come
# within some hundredths of the optimum; with a constant weight they need ten times as many.
FIRST_ENTROPY, ENTROPY, ITERATIONS = 0.3, 0.01, 12


class TransportQuantiser(nn.Module):
    """The nearest codevector; a loss moves codevectors and latents towards each other as wholes.

    Losses: `transport`, the entropic optimal transport cost between the latents of a batch, each of
    weight 1/N, and the codevectors, of learned weights pi, where moving z to e costs |z - e|^2;
    `weights_kl`, KL(pi, uniform), in [0, log K]. No other loss ties latents to codevectors, and
    gradients pass straight to the latents.
    """

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))
        self.weight_logits = nn.Parameter(torch.zeros(codebook_size))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        z = rearrange(latents, "b d h w -> (b h w) d")
        costs = -squared_euclidean(z, self.codebook)
        codes = costs.argmin(1)
        e = F.embedding(codes, self.codebook)
        log_weights = self.weight_logits.log_softmax(0)
        divergence = (log_weights.exp() * log_weights).sum() + math.log(self.codebook_size)
        losses = {"transport": transport_cost(costs, log_weights), "weights_kl": divergence}
        return Quantised.of_rows(latents.shape, z, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""


def transport_cost(
    costs: Float[Tensor, "n k"], log_weights: Float[Tensor, " k"]
) -> Float[Tensor, ""]:
    """Entropic transport of n points of equal weight to k points of weights pi, in its dual form:
    max over g of mean_i f_i + sum_k pi_k g_k, where
    f_i = -eps log sum_k pi_k exp((g_k - c_ik) / eps) and eps = ENTROPY times the mean cost.

    At the maximum the derivative of g is 0, so g counts as a constant, and the gradient by costs is
    the transport plan.
    """
    mean = float(costs.detach().mean())
    with torch.no_grad():
        g = torch.zeros_like(log_weights)
        for entropy in np.geomspace(FIRST_ENTROPY, ENTROPY, ITERATIONS):
            f = _soft_minimum(costs - g, log_weights, entropy * mean, 1)
            uniform = f.new_tensor(-math.log(len(f)))
            g = _soft_minimum(costs - f[:, None], uniform, entropy * mean, 0)
    f = _soft_minimum(costs - g, log_weights, ENTROPY * mean, 1)
    return f.mean() + (log_weights.exp() * g).sum()


def _soft_minimum(values: Tensor, log_weights: Tensor, eps: float, dim: int) -> Tensor:
    return -eps * (log_weights - values / eps).logsumexp(dim)
