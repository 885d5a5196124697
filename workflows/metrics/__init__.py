"""Metrics: arrays in, numbers out."""

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
OF_SAMPLES = {"FID": 1, "KID": 1, "precision": 1, "recall": 1}
