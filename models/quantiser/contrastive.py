"""The contrastive term: pulls each codevector to its closest latents, away from the far half."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from models.quantiser.distances import Similarity


class ContrastiveTerm:
    """Cross entropy of a code's mean closest similarity against its smallest ones.

    For each code, the positive is the mean of the max(1, N // K) largest similarities over the N
    latents of the batch, the negatives are the N // 2 smallest. Latents are detached: the term
    trains the codebook alone. Source: the published implementation (the paper's formula is not
    stated elsewhere).
    """

    def __init__(self, temperature: float = 0.07) -> None:
        """temperature: divides every similarity; positive."""
        self.temperature = temperature

    def __call__(
        self, latents: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"], similarity: Similarity
    ) -> Float[Tensor, ""]:
        """The mean over codes, a non-negative scalar."""
        scores = similarity(latents.detach(), codebook).T.contiguous()
        count, total = scores.shape
        positive = scores.topk(max(1, total // count), dim=1, sorted=False).values.mean(1)
        if total < 2:
            return torch.zeros_like(positive).mean()
        negatives = _log_mass_of_smallest(scores, total // 2, self.temperature)
        positive = positive / self.temperature
        # softplus keeps its digits where the loss is small, a difference of logarithms would not.
        return F.softplus(negatives - positive).mean()


def _log_mass_of_smallest(
    scores: Float[Tensor, "k n"], smallest: int, temperature: float
) -> Float[Tensor, " k"]:
    """log of the sum of exp(score / temperature) over the `smallest` lowest scores of each row.

    Selecting by the order statistic instead of sorting is several times faster. Scores equal to it
    share the places that are left evenly, which leaves the value exact.
    """
    with torch.no_grad():
        bound = scores.kthvalue(smallest, dim=1, keepdim=True).values
        below, level = scores < bound, scores == bound
        share = (smallest - below.sum(1, keepdim=True)) / level.sum(1, keepdim=True)
        log_share = below.to(scores.dtype).add_(level * share).log_()
    return (scores / temperature + log_share).logsumexp(1)
