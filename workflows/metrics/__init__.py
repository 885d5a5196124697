"""Metrics: arrays in, numbers out. This module is light, so that planning can ask it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

# Metric -> its version, raised when its numbers change, so that cells are measured again.
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
# What is measured beside where encoder and decoder are frozen.
OF_LATENTS = {"error": 1}
OF_SAMPLES = {"FID": 1, "KID": 1, "KID-deviation": 1, "precision": 1, "recall": 1}
# What is measured beside of a model that says how likely codes are.
OF_CODES = {"bits": 1}
# Pixels of SSIM's window.
SSIM_WINDOW = 11
# Into so many parts samples are divided, or into pairs if they are few, to see how far KID is from
# its expectation.
KID_PARTS = 10
# Neighbours that the balls of precision and recall reach to; the paper's number.
NEIGHBOURS = 3
# Metric -> the fewest pixels a side that its images may have. The networks of LPIPS halve an image
# until nothing is left of a smaller one.
FEWEST_PIXELS = {"SSIM": SSIM_WINDOW, "LPIPS": 16, "LPIPS-Alex": 31}
# Metric -> the fewest images of each of the two sets that it compares. A covariance and KID's mean
# over pairs need two, and every image needs its neighbours beside it.
FEWEST_IMAGES = {
    "rFID": 2,
    "FID": 2,
    "KID": 2,
    "KID-deviation": 4,
    "precision": NEIGHBOURS + 1,
    "recall": NEIGHBOURS + 1,
}


def needs_features(metrics: Collection[str] | None) -> bool:
    """Whether a metric compares Inception features with those of the test images."""
    return metrics is None or not {"rFID", "KID"}.isdisjoint(metrics)


def not_measurable(metrics: Iterable[str], pixels: int, images: int) -> dict[str, str]:
    """Metric -> why images of so many pixels a side, or so few images, cannot have it."""
    found = {}
    for metric in metrics:
        fewest_pixels, fewest = FEWEST_PIXELS.get(metric, 1), FEWEST_IMAGES.get(metric, 1)
        if pixels < fewest_pixels:
            found[metric] = f"needs images of {fewest_pixels} pixels a side, these have {pixels}"
        elif images < fewest:
            found[metric] = f"needs {fewest} images, there are {images}"
    return found
