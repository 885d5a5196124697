"""The two earlier reinitialisation rules, restated slowly from their published code's behaviour."""

from __future__ import annotations

import torch
from torch import Tensor


def near_codevectors(
    codebook: Tensor, counts: Tensor, noise: Tensor, threshold: float = 0.03, scale: float = 0.01
) -> tuple[Tensor, Tensor]:
    """One check of HVQ-VAE: the codebook and the (zeroed) counts after it.

    If least / most < threshold, the one least used code becomes the most used plus noise / 100.
    Counts start again whether or not a code moved.
    """
    ranked = counts.sort(stable=True).indices
    least, most = int(ranked[0]), int(counts.argmax())
    after = codebook.clone()
    if counts[most] > 0 and float(counts[least]) / float(counts[most]) < threshold:
        after[least] = codebook[most] + scale * noise
    return after, torch.zeros_like(counts)


def moving_counts(counts: Tensor, codes: Tensor, decay: float = 0.99) -> Tensor:
    """Jukebox's count per code: mu k_elem + (1 - mu) n_k. It starts at 1."""
    fresh = torch.zeros_like(counts)
    for code in codes.tolist():
        fresh[code] += 1.0
    return decay * counts + (1 - decay) * fresh


def hard_features(
    codebook: Tensor, counts: Tensor, latents: Tensor, order: Tensor, threshold: float = 1.0
) -> Tensor:
    """One step of Jukebox's rule: a code whose count is below the threshold takes a latent.

    Code k takes row k of one permutation of the batch, so the latents taken are distinct. The
    counts are not reset, so a code is drawn again at each step until its count is back at 1.
    """
    if len(order) < len(codebook):
        raise ValueError(f"{len(order)} latents cannot give {len(codebook)} distinct anchors")
    after = codebook.clone()
    for k in range(len(codebook)):
        if counts[k] < threshold:
            after[k] = latents.detach()[order[k]]
    return after
