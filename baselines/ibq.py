"""Index backpropagation quantisation (IBQ, Shi et al. 2024), weighed as in the authors' code."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.interface import Assignment, Quantised


class IndexQuantiser(nn.Module):
    """A softmax over the whole codebook, made hard forward, through which gradients go backward.

    With logits z . e_k and their softmax p, the code is k = argmax p, and the vector is
    (onehot(k) - sg(p) + p) E: forward e_k, backward a gradient to every codevector and, through the
    logits only, to the latent. Losses over all elements: `index`, mean (vector - z)^2;
    `commitment`, mean (sg(e) - z)^2; `codebook`, mean (e - sg(z))^2. `entropy`: the mean entropy
    less the entropy of the mean over the batch, of softmax(logits / temperature), in
    [-log K, log K].
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
        """Quantise."""
        z = rearrange(latents, "b d h w -> (b h w) d")
        logits = z @ self.codebook.T
        codes = logits.argmax(1)
        e = F.embedding(codes, self.codebook)
        # The one-hot part of the gradient to E goes through e, hence none of it through `soft`.
        soft = logits.softmax(1) @ self.codebook.detach()
        vectors = e + (soft - soft.detach())
        losses = {
            "index": F.mse_loss(vectors, z),
            "commitment": F.mse_loss(z, e.detach()),
            "codebook": F.mse_loss(e, z.detach()),
            "entropy": _entropies(logits / self.temperature),
        }
        return Quantised.of_rows(latents.shape, z, vectors, codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing."""


def _entropies(logits: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """The mean entropy of softmax(logits) less the entropy of the mean softmax."""
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    mean = p.mean(0)
    # Without the small number a code that no latent has would have no finite gradient.
    return -(p * log_p).sum(1).mean() + (mean * (mean + 1e-5).log()).sum()
