"""Distances of pictures: mean absolute difference, PSNR and SSIM.

All take two float arrays (N, C, H, W) with values in [0, 1] and return an array (N,).
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from workflows.metrics import SSIM_WINDOW


def l1(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of each pair, in [0, 1]."""
    return np.abs(images - reconstructions).mean(axis=(1, 2, 3), dtype=np.float64)


def psnr(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio of each pair in dB, infinite for equal pictures."""
    difference = images.astype(np.float64) - reconstructions
    with np.errstate(divide="ignore"):
        return -10 * np.log10((difference**2).mean(axis=(1, 2, 3)))


def ssim(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Return the structural similarity of each pair, in [-1, 1] (Wang et al., 2004).

    The window of 11 x 11 pixels is uniform, and channels are averaged. Raises ValueError if a
    picture is smaller than the window.
    """
    options = {"win_size": SSIM_WINDOW, "data_range": 1.0, "channel_axis": 0}
    pairs = zip(images, reconstructions, strict=True)
    return np.array([structural_similarity(a, b, **options) for a, b in pairs], np.float64)
