"""How metrics, protocols and verdicts are printed."""

from __future__ import annotations

import math
from collections.abc import Collection

from workflows.records.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED, UNTESTED

# Metric -> digits after the point, as the paper prints them. Usage is printed in per cent.
DIGITS = {
    "l1": 4,
    "PSNR": 2,
    "SSIM": 4,
    "LPIPS": 4,
    "LPIPS-Alex": 4,
    "rFID": 2,
    "FID": 2,
    "KID": 4,
    "KID-deviation": 4,
    "bits": 2,
    "precision": 3,
    "recall": 3,
    "usage": 1,
    "perplexity": 1,
    "parameters": 0,
    "seen": 0,
    "minutes": 1,
    "step": 0,
    "error": 4,
}
UNITS = {
    "PSNR": "dB",
    "usage": "%",
    "step": "ms",
    "seen": "images",
    "bits": "a code",
    "error": "of variance",
}
# Metrics that compare the features of a pretrained network.
ON_FEATURES = ("rFID", "FID", "KID", "KID-deviation", "precision", "recall", "LPIPS", "LPIPS-Alex")
FRECHET = ("rFID", "FID")
# Inception gives 2,048 features. The covariance of fewer images is singular, and their distance is
# biased upwards by much more than methods differ.
ENOUGH = 2048
ABSENT = "n/a"
PROTOCOLS = {
    "as_published": "protocol as published",
    "exact": "exact protocol",
    "samples": "samples against training images",
}
# A verdict in verdicts.csv -> the words on pages.
VERDICTS = {
    REPRODUCED: "agrees",
    CONTRADICTED: "disagrees",
    UNDECIDED: "undecided",
    UNTESTED: "not tested",
}


def formatted(metric: str, value: float | None, sign: bool = False) -> str:
    """Return a value with the digits of its metric, or `n/a` for None and NaN.

    sign: whether a positive value gets a plus sign, as a difference does.
    """
    if value is None or math.isnan(value):
        return ABSENT
    scaled = value * 100 if metric == "usage" else value
    digits = DIGITS[metric]
    text = f"{scaled:+.{digits}f}" if sign else f"{scaled:.{digits}f}"
    # A difference that rounds to zero is printed without a sign.
    return f"{0:.{digits}f}" if float(text) == 0 else text


def with_interval(metric: str, mean: float, low: float, high: float, sign: bool = False) -> str:
    """Return a mean as text, followed by "[low, high]" unless the interval is NaN."""
    text, *bounds = (formatted(metric, value, sign) for value in (mean, low, high))
    return text if math.isnan(low) else f"{text} [{', '.join(bounds)}]"


def too_few_images(metric: str, images: Collection[int]) -> bool:
    """Return whether a metric is a Fréchet distance whose values rest on fewer than ENOUGH images.

    Such a distance must not stand beside a published one.
    """
    return metric in FRECHET and bool(images) and min(images) < ENOUGH


def span(counts: Collection[int]) -> str:
    """Return the smallest and the largest count as "2 to 4", or as "2" if they are equal."""
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))


def heading(metric: str, images: Collection[int] = ()) -> str:
    """Return a metric with its unit and, for a metric on features, its number of images N."""
    parts = [UNITS[metric]] if metric in UNITS else []
    if images and metric in ON_FEATURES:
        parts.append(f"N = {span(images)}")
    return f"{metric} ({', '.join(parts)})" if parts else metric
