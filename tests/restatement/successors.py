"""SQ-VAE, and siblings and successors of CVQ-VAE, restated slowly from published equations.

Each function takes latents z (N, D) and returns the vectors (N, D), whose gradients reach z as
published, the codes (N,) and the losses by name.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

Found = tuple[Tensor, Tensor, dict[str, Tensor]]


def straight(z: Tensor, vectors: Tensor) -> Tensor:
    """Vectors with the gradient of z."""
    return z + (vectors - z).detach()


def closest(z: Tensor, codebook: Tensor) -> Tensor:
    """The code of the smallest Euclidean distance, one latent at a time."""
    return torch.stack([(codebook - row).norm(dim=1).argmin() for row in z.detach()])


def two_terms(z: Tensor, e: Tensor) -> dict[str, Tensor]:
    """VQ-VAE's losses."""
    commitment = (z - e.detach()).pow(2).mean()
    return {"commitment": commitment, "codebook": (e - z.detach()).pow(2).mean()}


def finite_scalar(z: Tensor, levels: list[int], published: bool = False) -> Found:
    """FSQ. published: by the paper's appendix instead of by the library."""
    columns, codes, base = [], torch.zeros(len(z), dtype=torch.long), 1
    for column, size in zip(z.T, levels, strict=True):
        half = (size - 1) * (1 - 1e-3 if published else 1 + 1e-3) / 2
        offset = 0.5 if size % 2 == 0 else 0.0
        shift = math.tan(offset / half) if published else math.atanh(offset / half)
        bounded = torch.tanh(column + shift) * half - offset
        rounded = bounded.round()
        columns.append(straight(bounded, rounded) / (size // 2))
        codes += base * (rounded.long() + size // 2)
        base *= size
    return torch.stack(columns, 1), codes, {}


def lookup_free(z: Tensor, temperature: float, spherical: bool) -> Found:
    """LFQ, and on the sphere BSQ."""
    bits = z.shape[1]
    corners = torch.tensor([*itertools.product((-1.0, 1.0), repeat=bits)], dtype=z.dtype)
    if spherical:
        z, corners = z / z.norm(dim=1, keepdim=True), corners / math.sqrt(bits)
    codes = sum((z[:, i] > 0).long() * 2 ** (bits - 1 - i) for i in range(bits))
    e = corners[codes]
    p = torch.exp(2 * z @ corners.T / temperature)
    p = p / p.sum(1, keepdim=True)
    entropy = -(p * p.clamp(min=1e-30).log()).sum(1).mean()
    mean = p.mean(0)
    losses = {
        "entropy": entropy + (mean * mean.clamp(min=1e-30).log()).sum(),
        "commitment": (z - e).pow(2).mean(),
    }
    return straight(z, e), codes, losses


def transformed(z: Tensor, frozen: Tensor, matrix: Tensor) -> Found:
    """SimVQ. matrix: W^T, as torch's linear layers have it."""
    codebook = frozen @ matrix.T
    codes = closest(z, codebook)
    return straight(z, codebook[codes]), codes, two_terms(z, codebook[codes])


def rotation(z: Tensor, e: Tensor) -> Tensor:
    """|e| / |z| R, which maps z onto e; (D, D). R is made of two reflections."""
    from_, to = z / z.norm(), e / e.norm()
    between = (from_ + to) / (from_ + to).norm()
    one = torch.eye(len(z), dtype=z.dtype)
    reflected = one - 2 * torch.outer(between, between)
    return e.norm() / z.norm() * (reflected @ (one - 2 * torch.outer(from_, from_)))


def stochastic(
    z: Tensor, codebook: Tensor, phi: Tensor, images: int, soft: tuple[Tensor, float] | None
) -> Found:
    """SQ-VAE, Gaussian variant (I); losses are means over images.

    phi: sigma^2 = 1 + exp(phi). soft: in training the Gumbel noise (N, K) and the temperature tau;
    None in evaluation, where the most probable code is taken.
    """
    precision = 1 / (2 * (1 + torch.exp(phi)))
    logits = -(z[:, None, :] - codebook[None, :, :]).pow(2).sum(dim=2) * precision
    codes = logits.detach().sort(dim=1, descending=True, stable=True).indices[:, 0]
    vectors = codebook[codes]
    if soft is not None:
        noise, temperature = soft
        scores = (logits + noise) / temperature
        weights = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
        # Neither hardened nor straight-through.
        vectors = (weights / weights.sum(dim=1, keepdim=True)) @ codebook
    log_p = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    losses = {
        # The constant L log K is left out, so the term is negative.
        "discrete_kl": (torch.exp(log_p) * log_p).sum() / images,
        "continuous_kl": (z - vectors).pow(2).sum() * precision / images,
    }
    return vectors, codes, losses


def index_propagated(z: Tensor, codebook: Tensor, temperature: float) -> Found:
    """IBQ."""
    logits = z @ codebook.T
    soft = torch.exp(logits - logits.logsumexp(1, keepdim=True))
    codes = soft.argmax(1)
    hard = torch.eye(len(codebook), dtype=z.dtype)[codes]
    vectors = (hard - soft.detach() + soft) @ codebook
    e = hard @ codebook
    p = torch.softmax(logits / temperature, 1)
    entropy = -(p * p.clamp(min=1e-30).log()).sum(1).mean()
    losses = {**two_terms(z, e), "index": (vectors - z).pow(2).mean()}
    mean = p.mean(0)
    losses["entropy"] = entropy + (mean * (mean + 1e-5).log()).sum()
    return vectors, codes, losses


def arc_margin(z: Tensor, codebook: Tensor, step: int) -> Found:
    """ArcVQ-VAE, codevector by codevector; s = 5, m = 0.1, three positives."""
    unit = z / z.norm(dim=1, keepdim=True)
    directions = codebook / codebook.norm(dim=1, keepdim=True)
    codes = (unit @ directions.T).argmax(1)
    e = codebook[codes]
    terms = []
    for direction in directions.detach():
        angles = torch.acos((unit @ direction).clamp(-1 + 1e-12, 1 - 1e-12))
        near = angles.argsort()[:3].tolist()
        above = sum(torch.exp(5 * torch.cos(angles[i] + 0.1)) for i in near)
        rest = [i for i in range(len(z)) if i not in near]
        below = above + sum(torch.exp(5 * torch.cos(angles[i])) for i in rest)
        terms.append(-torch.log(above / below))
    arc = math.exp(-5e-4 * step) * torch.stack(terms).mean()
    return straight(z, e), codes, {**two_terms(z, e), "arc": arc}
