"""The quantiser of VQ-VAE and CVQ-VAE: a codebook with gradients and an optional refresh."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment, Quantised, codevectors, rows, straight_through
from models.quantiser.search import nearest

# Temperature of the contrastive term in the published implementation.
TEMPERATURE = 0.07


@runtime_checkable
class Refresher(Protocol):
    """A rule that overwrites codevectors, such as `models.quantiser.refresh.Refresh`."""

    def update(self, codebook: Tensor, assignment: Assignment, similarity: Similarity) -> None:
        """Observe one batch and overwrite rows of the codebook (k, d) in place."""


class ClusteredQuantiser(nn.Module):
    """Nearest-codevector quantisation (VQ-VAE) with an optional refresh (CVQ-VAE).

    A latent z receives the code k = argmax_k s(z, e_k) of the most similar codevector and is
    replaced by e = e_k. Gradients pass straight through: the output is z + sg(e - z), where sg
    stops gradients. The losses are means over all elements: `commitment` is (z - sg(e))^2 and
    `codebook` is (e - sg(z))^2. With `contrastive`, `contrastive_term` is a third loss.
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
        """Quantise a batch of latents."""
        z = rows(latents)
        codes = nearest(z, self.codebook, self.similarity)
        e = F.embedding(codes, self.codebook)
        losses = {
            "commitment": F.mse_loss(z, e.detach()),
            "codebook": F.mse_loss(e, z.detach()),
        }
        if self.contrastive:
            losses["contrastive"] = contrastive_term(z, self.codebook, self.similarity)
        return Quantised.of_rows(latents, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    def adapt(self, assignment: Assignment) -> None:
        """Refresh the codebook, if this quantiser has a refresh."""
        if self.refresh is not None:
            self.refresh.update(self.codebook.data, assignment, self.similarity)


def contrastive_term(
    latents: Float[Tensor, "n d"],
    codebook: Float[Tensor, "k d"],
    similarity: Similarity,
) -> Float[Tensor, ""]:
    """Pull each codevector towards its closest latents and away from the farthest half.

    L = mean_k -log(exp(p_k / t) / (exp(p_k / t) + sum_j exp(n_kj / t)))

    Among the similarities s(z_i, e_k) of code k to the N latents of the batch, p_k is the mean of
    the max(1, N // K) largest and n_kj are the N // 2 smallest; t is TEMPERATURE. The latents are
    detached, so the term trains the codebook alone. The formula is that of the published
    implementation, because the paper's own formula was not available.
    """
    scores = similarity(codebook, latents.detach())
    size, count = scores.shape
    positive = scores.topk(max(1, count // size), sorted=False).values.mean(1, keepdim=True)
    negatives = scores.topk(count // 2, largest=False, sorted=False).values
    logits = torch.cat([positive, negatives], 1) / TEMPERATURE
    return F.cross_entropy(logits, torch.zeros(size, dtype=torch.long, device=logits.device))
