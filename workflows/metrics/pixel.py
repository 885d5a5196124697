"""Per-image distances between pictures: mean absolute difference, PSNR and SSIM.

All take two float arrays of equal shape (N, C, H, W) with values in [0, 1] and return shape (N,).
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from workflows.metrics import SSIM_WINDOW


def l1(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each pair, in [0, 1]."""
    return np.abs(images - reconstructions).mean(axis=(1, 2, 3), dtype=np.float64)


def psnr(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each pair in dB, infinite for equal pictures."""
    difference = images.astype(np.float64) - reconstructions
    with np.errstate(divide="ignore"):
        return -10 * np.log10((difference**2).mean(axis=(1, 2, 3)))


def ssim(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Structural similarity of each pair, in [-1, 1]: uniform 11 x 11 window, channels averaged.

    Wang et al., "Image quality assessment", 2004, with scikit-image's uniform window.
    Raises ValueError if a picture is smaller than the window.
    """
    options = {"win_size": SSIM_WINDOW, "data_range": 1.0, "channel_axis": 0}
    pairs = zip(images, reconstructions, strict=True)
    return np.array([structural_similarity(a, b, **options) for a, b in pairs], np.float64)
