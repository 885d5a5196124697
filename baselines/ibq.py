"""Index backpropagation quantisation (IBQ, Shi et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.interface import Assignment, Quantised, codevectors, rows


class IndexQuantiser(nn.Module):
    """A softmax over the whole codebook E, hard in the forward and soft in the backward pass.

    With p = softmax_k(z . e_k), the code is k = argmax p, and the vector is (onehot(k) - sg(p) + p)
    E. Its value is e = e_k. Its gradient reaches every codevector and, through the logits alone,
    the latent z. The losses `index`, (vector - z)^2, `commitment`, (z - sg(e))^2, and `codebook`,
    (e - sg(z))^2, are means over all elements. The loss `entropy` is the mean entropy of
    softmax(logits / temperature) minus the entropy of its mean over the batch, in [-log K, 0].
    """

    def __init__(self, codebook_size: int, code_dim: int, temperature: float) -> None:
        """codebook_size: K. code_dim: D. temperature: of the entropies."""
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.temperature = temperature
        self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        z = rows(latents)
        logits = z @ self.codebook.T
        codes = logits.argmax(1)
        e = F.embedding(codes, self.codebook)
        # E gets the one-hot part of its gradient through e, so `soft` must not give E another.
        soft = logits.softmax(1) @ self.codebook.detach()
        vectors = e + (soft - soft.detach())
        losses = {
            "index": F.mse_loss(vectors, z),
            "commitment": F.mse_loss(z, e.detach()),
            "codebook": F.mse_loss(e, z.detach()),
            "entropy": _entropy_term(logits / self.temperature),
        }
        return Quantised.of_rows(latents, vectors, codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing, because gradients train the whole state."""


def _entropy_term(logits: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Return the mean entropy of softmax(logits) minus the entropy of the mean softmax."""
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    mean = p.mean(0)
    # Without the small number, the gradient of a code that no latent has would be infinite.
    return -(p * log_p).sum(1).mean() + (mean * (mean + 1e-5).log()).sum()
