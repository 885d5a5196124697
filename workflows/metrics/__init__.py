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
# Metric -> the fewest pixels a side of an image, and the fewest images, that it can be measured on.
# SSIM has a window of 11 pixels, and the networks of LPIPS halve an image until nothing is left.
FEWEST_PIXELS = {"SSIM": 11, "LPIPS": 16, "LPIPS-Alex": 31}
# A covariance needs two images, and a third neighbour four.
FEWEST_IMAGES = {"rFID": 2, "FID": 2, "KID": 2, "precision": 4, "recall": 4}
