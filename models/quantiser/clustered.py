"""The quantiser of VQ-VAE and CVQ-VAE: a codebook trained by gradient, refreshed or not."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.interface import Assignment, Quantised, Similarity, straight_through
from models.quantiser.search import nearest

# Of the contrastive term, as published.
TEMPERATURE = 0.07


@runtime_checkable
class Refresher(Protocol):
    """Overwrites codevectors, rows of `codebook`, (k, d), from what a batch used."""

    def update(self, codebook: Tensor, assignment: Assignment, similarity: Similarity) -> None:
        """Observe one batch and overwrite rows in place."""
        ...


class ClusteredQuantiser(nn.Module):
    """Nearest-codevector quantisation (VQ-VAE) with an optional refresh (CVQ-VAE).

    A latent z receives the code k = argmax_k s(z, e_k) and is replaced by e = e_k, through which
    gradients pass straight: z + sg(e - z), where sg stops gradients. Losses: `commitment`, mean
    (z - sg(e))^2, and `codebook`, mean (e - sg(z))^2, over all elements; with a contrastive term
    also `contrastive`.
    """

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        similarity: Similarity,
        refresh: Refresher | None = None,
        contrastive: bool = False,
    ) -> None:
        """codebook_size: K. code_dim: D. Codevectors start uniform in [-1/K, 1/K]."""
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.similarity = similarity
        self.refresh = refresh
        self.contrastive = contrastive
        bound = 1 / codebook_size
        self.codebook = nn.Parameter(torch.empty(codebook_size, code_dim).uniform_(-bound, bound))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise."""
        z = rearrange(latents, "b d h w -> (b h w) d")
        codes = nearest(z, self.codebook, self.similarity)
        e = F.embedding(codes, self.codebook)
        losses = {
            "commitment": F.mse_loss(z, e.detach()),
            "codebook": F.mse_loss(e, z.detach()),
        }
        if self.contrastive:
            losses["contrastive"] = contrastive_term(z, self.codebook, self.similarity)
        return Quantised.of_rows(latents.shape, z, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The codevectors of `codes`."""
        return rearrange(F.embedding(codes, self.codebook), "b h w d -> b d h w")

    def adapt(self, assignment: Assignment) -> None:
        """Refresh the codebook, if this quantiser has a refresh."""
        if self.refresh is not None:
            self.refresh.update(self.codebook.data, assignment, self.similarity)


def contrastive_term(
    latents: Float[Tensor, "n d"],
    codebook: Float[Tensor, "k d"],
    similarity: Similarity,
) -> Float[Tensor, ""]:
    """Pull each codevector to its closest latents, away from the far half.

    L = mean_k -log(exp(p_k / t) / (exp(p_k / t) + sum_j exp(n_kj / t)))

    For code k, p_k is the mean of the max(1, N // K) largest similarities s(z_i, e_k) over the N
    latents of the batch, and n_kj are the N // 2 smallest ones. Latents are detached: the term
    trains the codebook alone. The formula follows the published implementation.
    """
    scores = similarity(codebook, latents.detach())
    size, count = scores.shape
    positive = scores.topk(max(1, count // size), sorted=False).values.mean(1, keepdim=True)
    negatives = scores.topk(count // 2, largest=False, sorted=False).values
    logits = torch.cat([positive, negatives], 1) / TEMPERATURE
    return F.cross_entropy(logits, torch.zeros(size, dtype=torch.long, device=logits.device))
