"""How a metric's value is printed."""

from __future__ import annotations

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
    "precision": 3,
    "recall": 3,
    "usage": 1,
    "perplexity": 1,
}
UNITS = {"PSNR": "dB", "usage": "%"}
ON_FEATURES = ("rFID", "FID", "KID", "precision", "recall", "LPIPS", "LPIPS-Alex")
ABSENT = "n/a"
PROTOCOLS = {
    "exact": "exact protocol",
    "as_published": "protocol as published",
    "samples": "samples against training images",
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


def heading(metric: str, images: set[int] | None = None) -> str:
    """The metric, its unit, and the number of images N it rests on, where that matters."""
    parts = [UNITS[metric]] if metric in UNITS else []
    if images and metric in ON_FEATURES:
        low, high = min(images), max(images)
        parts.append(f"N = {low}" if low == high else f"N = {low} to {high}")
    return f"{metric} ({', '.join(parts)})" if parts else metric
