"""The contrastive term: pulls each codevector to its closest latents, away from the far half."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from models.quantiser.interface import Similarity


def contrastive_term(
    latents: Float[Tensor, "n d"],
    codebook: Float[Tensor, "k d"],
    similarity: Similarity,
    temperature: float = 0.07,
) -> Float[Tensor, ""]:
    """L = mean_k -log(exp(p_k / t) / (exp(p_k / t) + sum_j exp(n_kj / t))).

    For code k, p_k is the mean of the max(1, N // K) largest similarities s(z_i, e_k) over the N
    latents of the batch, and n_kj are the N // 2 smallest ones. Latents are detached: the term
    trains the codebook alone. The formula follows the published implementation.
    """
    scores = similarity(codebook, latents.detach())
    size, count = scores.shape
    positive = scores.topk(max(1, count // size), sorted=False).values.mean(1, keepdim=True)
    negatives = scores.topk(count // 2, largest=False, sorted=False).values
    logits = torch.cat([positive, negatives], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(size, dtype=torch.long, device=logits.device))
