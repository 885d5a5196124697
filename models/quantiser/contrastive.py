"""The contrastive term: pulls each codevector to its closest latents, away from the far half."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.quantiser.distances import Similarity
from models.quantiser.selection import smallest

# Codes at a time: their scores over the published batch of 65,536 latents are 8 MiB.
CODES = 32


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
        """The mean over codes, a non-negative scalar; first derivatives only."""
        return _Term.apply(codebook, latents.detach(), similarity, self.temperature)


class _Term(torch.autograd.Function):
    """Value and gradient together, some codes at a time, so that K x N numbers never exist."""

    @staticmethod
    def forward(
        ctx: Any, codebook: Tensor, latents: Tensor, similarity: Similarity, temperature: float
    ) -> Tensor:
        prepared = similarity.prepare(latents)
        wanted = ctx.needs_input_grad[0] and not torch.is_inference_mode_enabled()
        positives = max(1, len(latents) // len(codebook))
        total, gradient, done = codebook.new_zeros(()), torch.zeros_like(codebook), 0
        # A single latent has no far half.
        for codes in codebook.split(CODES) if len(latents) > 1 else ():
            with torch.set_grad_enabled(wanted):
                leaf = codes.detach().requires_grad_(wanted)
                scores = similarity.compare(similarity.prepare(leaf), prepared)
            terms, slopes = _cross_entropy(scores.detach(), positives, temperature)
            total += terms.sum()
            if wanted:
                (gradient[done : done + len(codes)],) = torch.autograd.grad(scores, leaf, slopes)
                done += len(codes)
        ctx.save_for_backward(gradient / len(codebook))
        return total / len(codebook)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return loss * gradient, None, None, None


def _cross_entropy(
    scores: Float[Tensor, "k n"], positives: int, temperature: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
    """Each code's term and its derivatives by the scores."""
    far = smallest(scores, scores.shape[1] // 2)
    close = smallest(-scores, positives)
    # Relative to the largest of the far half, so that nothing overflows.
    mass = torch.minimum(scores, far.bound).sub_(far.bound).div_(temperature).exp_()
    mass = mass.mul_(far.weights)
    total = mass.sum(1, keepdim=True)
    positive = (close.weights * scores).sum(1, keepdim=True) / positives
    margin = total.log() + (far.bound - positive) / temperature
    pull = torch.sigmoid(margin) / temperature
    slopes = mass.mul_(pull / total).sub_(close.weights.mul_(pull / positives))
    # softplus keeps its digits where the loss is small, a difference of logarithms would not.
    return F.softplus(margin)[:, 0], slopes
