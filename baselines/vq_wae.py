"""VQ-WAE (Vuong et al., ICML 2023): latents are transported to codevectors that have weights.

The code follows the paper's equations, with three departures. Entropy regularises the transport,
and Sinkhorn's iterations solve its dual form; the authors' code solves the transport exactly or
trains networks for the dual. All positions of the grid share one transport and one set of weights,
as in the authors' dual form. The reconstruction term is divided by the variance, as in every other
row.

With the exact solver, the authors' code has a transport and weights pi for each of the 64 positions
of an 8 x 8 grid. It adds up 0.001 transport + KL(pi, uniform) / K over the positions, with K = 512.
The default weights of our losses are therefore 64 * 0.001 and 64 / 512, which give the same loss if
all positions are alike.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, codevectors, rows, straight_through

# The weight of the entropy relative to the mean cost. The weight falls over the iterations, which
# then come within some hundredths of the optimum. A constant weight needs ten times as many.
FIRST_ENTROPY, ENTROPY, ITERATIONS = 0.3, 0.01, 12


class TransportQuantiser(nn.Module):
    """Nearest-codevector quantisation with a loss between all latents and all codevectors.

    The loss `transport` is the entropic optimal transport cost between the latents of a batch, each
    of weight 1/N, and the codevectors, of learned weights pi. Moving z to e costs |z - e|^2. The
    loss `weights_kl` is KL(pi, uniform), in [0, log K]. No other loss ties latents to codevectors,
    and gradients pass straight to the latents.
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
        """Quantise a batch of latents."""
        z = rows(latents)
        costs = -squared_euclidean(z, self.codebook)
        codes = costs.argmin(1)
        e = F.embedding(codes, self.codebook)
        log_weights = self.weight_logits.log_softmax(0)
        divergence = (log_weights.exp() * log_weights).sum() + math.log(self.codebook_size)
        losses = {"transport": transport_cost(costs, log_weights), "weights_kl": divergence}
        return Quantised.of_rows(latents, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing, because gradients train the whole state."""


def transport_cost(
    costs: Float[Tensor, "n k"], log_weights: Float[Tensor, " k"]
) -> Float[Tensor, ""]:
    """Return the entropic transport cost of n points of equal weight to k points of weights pi.

    In the dual form this is the maximum over g of mean_i f_i + sum_k pi_k g_k, where
    f_i = -eps log sum_k pi_k exp((g_k - c_ik) / eps) and eps = ENTROPY times the mean cost.
    The gradient treats g as a constant, because the derivative by g is 0 at the maximum. The
    gradient by the costs is the transport plan.
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
