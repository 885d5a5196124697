"""SQ-VAE, Gaussian variant (I), restated slowly from its published equations."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(
    latents: Tensor, codebook: Tensor, phi: Tensor, images: int, soft: tuple[Tensor, float] | None
) -> dict[str, Tensor]:
    """Vectors, codes and the two losses, which are means over images.

    latents: (N, D). phi: sigma^2 = 1 + exp(phi). soft: in training the Gumbel noise (N, K) and the
    temperature tau; None in evaluation, where the most probable code is taken.
    """
    precision = 1 / (2 * (1 + torch.exp(phi)))
    logits = -(latents[:, None, :] - codebook[None, :, :]).pow(2).sum(dim=2) * precision
    codes = logits.detach().sort(dim=1, descending=True, stable=True).indices[:, 0]
    vectors = codebook[codes]
    if soft is not None:
        noise, temperature = soft
        scores = (logits + noise) / temperature
        weights = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
        # Neither hardened nor straight-through.
        vectors = (weights / weights.sum(dim=1, keepdim=True)) @ codebook
    log_p = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return {
        "vectors": vectors,
        "codes": codes,
        # The constant L log K is left out, so the term is negative.
        "discrete_kl": (torch.exp(log_p) * log_p).sum() / images,
        "continuous_kl": (latents - vectors).pow(2).sum() * precision / images,
    }
