"""Metrics: arrays in, numbers out. This module imports no library, so that planning stays quick."""

from __future__ import annotations

from collections.abc import Collection, Iterable

# Metric -> its version. A raised version lets cells be measured again.
OF_RECONSTRUCTIONS = {
    "l1": 1,
    "PSNR": 1,
    "SSIM": 1,
    "LPIPS": 1,
    "LPIPS-Alex": 1,
    "rFID": 1,
    "KID": 1,
    "usage": 1,
    "perplexity": 1,
}
# Also measured if encoder and decoder are frozen.
OF_LATENTS = {"error": 1}
OF_SAMPLES = {"FID": 1, "KID": 1, "KID-deviation": 1, "precision": 1, "recall": 1}
# Also measured for a model that can say how likely codes are.
OF_CODES = {"bits": 1}
# Side of SSIM's window in pixels.
SSIM_WINDOW = 11
# Samples are divided into this many parts, or into pairs if they are few, to estimate how far KID
# is from its expectation.
KID_PARTS = 10
# The balls of precision and recall reach to this neighbour, as in the paper.
NEIGHBOURS = 3
# Metric -> the fewest pixels that each side of an image must have. The networks of LPIPS halve an
# image until nothing is left of a smaller image.
FEWEST_PIXELS = {"SSIM": SSIM_WINDOW, "LPIPS": 16, "LPIPS-Alex": 31}
# Metric -> the fewest images of each of the two sets that it compares; configuration refuses fewer.
# A covariance and the mean over pairs of KID need two images, and an image must have NEIGHBOURS
# others.
FEWEST_IMAGES = {
    "rFID": 2,
    "FID": 2,
    "KID": 2,
    "KID-deviation": 4,
    "precision": NEIGHBOURS + 1,
    "recall": NEIGHBOURS + 1,
}


def needs_features(metrics: Collection[str] | None) -> bool:
    """Return whether a metric compares Inception features with those of the test images."""
    return metrics is None or not {"rFID", "KID"}.isdisjoint(metrics)


def not_measurable(metrics: Iterable[str], pixels: int) -> dict[str, str]:
    """Return metric -> the reason why too small images cannot have this metric.

    pixels: of the smaller side of an image.
    """
    return {
        metric: f"needs images of {FEWEST_PIXELS[metric]} pixels a side, these have {pixels}"
        for metric in metrics
        if pixels < FEWEST_PIXELS.get(metric, 1)
    }
