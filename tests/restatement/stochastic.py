"""SQ-VAE, Gaussian variant (I), restated slowly from its published equations.

B images of L latents each; sigma^2 = 1 + exp(phi) is one scalar for all of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def variance(phi: Tensor) -> Tensor:
    """sigma^2 of variant (I)."""
    return 1 + torch.exp(phi)


def logits(latents: Tensor, codebook: Tensor, phi: Tensor) -> Tensor:
    """(N, K): -||z_i - b_k||^2 / (2 sigma^2). Gradients reach all three arguments."""
    squared = (latents[:, None, :] - codebook[None, :, :]).pow(2).sum(dim=2)
    return -squared / (2 * variance(phi))


def soft_sample(logit: Tensor, codebook: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Training: softmax((logit + Gumbel noise) / tau) B, neither hardened nor straight-through."""
    scores = (logit + noise) / temperature
    weights = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
    return (weights / weights.sum(dim=1, keepdim=True)) @ codebook


def hard_codes(logit: Tensor) -> Tensor:
    """Evaluation: the most probable code."""
    return logit.detach().sort(dim=1, descending=True, stable=True).indices[:, 0]


def discrete_kl(logit: Tensor, images: int) -> Tensor:
    """(1 / B) sum_i sum_k P_ik log P_ik; the constant + L log K is left out, so it is negative."""
    log_p = logit - torch.logsumexp(logit, dim=1, keepdim=True)
    return (torch.exp(log_p) * log_p).sum() / images


def continuous_kl(latents: Tensor, vectors: Tensor, phi: Tensor, images: int) -> Tensor:
    """Mean over images of sum_i ||z_i - z_q,i||^2 / (2 sigma^2)."""
    return (latents - vectors).pow(2).sum() / (2 * variance(phi)) / images


def temperature(step: int, decay: float = 1e-5) -> float:
    """Tau = max(exp(-decay step), 0), with steps counted in batches from 1."""
    return max(math.exp(-decay * step), 0.0)
