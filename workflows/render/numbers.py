"""How a metric's value is printed, and in what words a verdict is."""

from __future__ import annotations

from collections.abc import Collection

# Digits after the point, as the paper prints them; usage in per cent.
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
    "minutes": 0,
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
ON_FEATURES = ("rFID", "FID", "KID", "KID-deviation", "precision", "recall", "LPIPS", "LPIPS-Alex")
FRECHET = ("rFID", "FID")
# Inception has as many features. A covariance of fewer images is singular, and the distance is
# biased upwards by much more than methods differ.
ENOUGH = 2048
ABSENT = "n/a"
PROTOCOLS = {
    "as_published": "protocol as published",
    "exact": "exact protocol",
    "samples": "samples against training images",
}
# Verdict -> in plain words, and its letter in the grid.
VERDICTS = {
    "reproduced": ("agrees", "A"),
    "contradicted": ("disagrees", "D"),
    "undecided": ("undecided", "U"),
    "not tested at this budget": ("not tested", "–"),
}


def shown(metric: str, value: float | None, sign: bool = False) -> str:
    """A value with the metric's digits, usage in per cent; `n/a` for none."""
    if value is None or value != value:
        return ABSENT
    scaled = value * 100 if metric == "usage" else value
    digits = DIGITS[metric]
    text = f"{scaled:+.{digits}f}" if sign else f"{scaled:.{digits}f}"
    # A difference that rounds to nothing has no sign.
    return f"{0:.{digits}f}" if float(text) == 0 else text


def ranged(metric: str, mean: float, low: float, high: float, sign: bool = False) -> str:
    """A mean, and behind it its interval if there is one."""
    text, *bounds = (shown(metric, value, sign) for value in (mean, low, high))
    return text if low != low else f"{text} [{', '.join(bounds)}]"


def few(metric: str, images: Collection[int]) -> bool:
    """Whether it is a Fréchet distance over too few images to stand beside a published one."""
    return metric in FRECHET and bool(images) and min(images) < ENOUGH


def span(counts: Collection[int]) -> str:
    """The least and the most of some counts: "2 to 4", or "2" where they are the same."""
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))


def heading(metric: str, images: Collection[int] = ()) -> str:
    """The metric, its unit, and the number of images N it rests on, where that matters."""
    parts = [UNITS[metric]] if metric in UNITS else []
    if images and metric in ON_FEATURES:
        parts.append(f"N = {span(images)}")
    return f"{metric} ({', '.join(parts)})" if parts else metric
