"""Clustered codebooks (CVQ-VAE), restated slowly from the paper's equations and set-up.

Written from the published description alone, to be compared with the fast implementation.
N latents of D numbers, K codevectors; similarities are (N, K) and larger means closer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def similarities(latents: Tensor, codebook: Tensor, kind: str) -> Tensor:
    """The full (N, K) matrix: cosine, or minus the squared Euclidean distance (forward, step 2).

    Latents are detached and the codebook is not, so a loss on this matrix trains codevectors only.
    """
    z = latents.detach()
    if kind == "cosine":
        z_length = z.pow(2).sum(dim=1).sqrt().clamp_min(1e-12)
        e_length = codebook.pow(2).sum(dim=1).sqrt().clamp_min(1e-12)
        return (z / z_length[:, None]) @ (codebook / e_length[:, None]).T
    if kind == "l2":
        return -(z[:, None, :] - codebook[None, :, :]).pow(2).sum(dim=2)
    raise ValueError(f"similarity is 'cosine' or 'l2', not {kind!r}")


def codes_of(matrix: Tensor) -> Tensor:
    """The closest code of each latent, by sorting every row; ties go to the lower code (step 3)."""
    return matrix.detach().sort(dim=1, descending=True, stable=True).indices[:, 0]


def forward(latents: Tensor, codebook: Tensor, kind: str) -> dict[str, Tensor]:
    """Assignment, straight-through vectors and the two unweighted losses (forward, steps 1 to 6).

    Codevectors enter unnormalised, under cosine too. `mean` runs over every element.
    """
    matrix = similarities(latents, codebook, kind)
    codes = codes_of(matrix)
    one_hot = torch.zeros_like(matrix)
    one_hot[torch.arange(len(codes)), codes] = 1.0
    chosen = one_hot @ codebook
    share = one_hot.mean(dim=0)
    return {
        "matrix": matrix,
        "codes": codes,
        "vectors": latents + (chosen - latents).detach(),
        "commitment": (chosen.detach() - latents).pow(2).mean(),
        "codebook": (chosen - latents.detach()).pow(2).mean(),
        "perplexity": torch.exp(-(share * torch.log(share + 1e-10)).sum()),
    }


def updated_usage(usage: Tensor, codes: Tensor, decay: float = 0.99) -> Tensor:
    """Equation 1: N_k(t) = gamma N_k(t-1) + (1 - gamma) n_k(t) / (B h w)."""
    fresh = torch.zeros_like(usage)
    for code in codes.tolist():
        fresh[code] += 1.0
    return decay * usage + (1 - decay) * fresh / len(codes)


def blend_weight(usage: Tensor, decay: float = 0.99, epsilon: float = 1e-3) -> Tensor:
    """Equation 2: alpha_k = exp(-N_k K 10 / (1 - gamma) - eps)."""
    alphas = [math.exp(-n * len(usage) * 10 / (1 - decay) - epsilon) for n in usage.tolist()]
    return torch.tensor(alphas, dtype=usage.dtype)


def closest_anchors(matrix: Tensor, latents: Tensor) -> Tensor:
    """For each code the latent most similar to it, by sorting every column; latents may repeat."""
    first = matrix.detach().sort(dim=0, descending=True, stable=True).indices[0]
    return latents.detach()[first]


def blended(codebook: Tensor, anchors: Tensor, alpha: Tensor) -> Tensor:
    """Equation 3: e_k(t) = (1 - alpha_k) e_k(t-1) + alpha_k z_k(t)."""
    rows = [(1 - a) * e + a * z for e, z, a in zip(codebook.detach(), anchors, alpha, strict=True)]
    return torch.stack(rows)
