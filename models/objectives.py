"""Reconstruction terms: how far an output is from its image. All take images in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Images = Float[Tensor, "b c h w"]
# Of output and images, (b, c, h, w) both: a scalar.
Objective = Callable[[Tensor, Tensor], Tensor]


def mse_over_variance(variance: float) -> Objective:
    """Mean squared error over the data's variance, as VQ-VAE and CVQ-VAE train.

    variance: of the training images in [0, 1], although the error is of images in [-1, 1]: the
    published implementation mixes the two scales (MNIST 0.094930, CIFAR10 0.063287).
    """

    def objective(output: Tensor, images: Tensor) -> Tensor:
        return F.mse_loss(output, images) / variance

    return objective


def log_mse(output: Images, images: Images) -> Tensor:
    """SQ-VAE's (D / 2) log S: the Gaussian likelihood at its best decoder variance.

    D is the number of values of one image, S the squared error of one image, averaged over the
    batch. S is not divided by D; that would only add a constant.
    """
    error = (output - images).square().sum() / len(images)
    return images[0].numel() / 2 * torch.log(error)


def log_likelihood(output: Images, images: Images) -> Tensor:
    """`log_mse` for one value of an image, log(S) / 2, to be weighed against terms of that size."""
    return log_mse(output, images) / images[0].numel()


def l1(output: Images, images: Images) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(output, images)


def with_perceptual(
    base: Objective, distance: Callable[[Tensor, Tensor], Tensor], weight: float
) -> Objective:
    """`base` plus a perceptual distance (VQGAN, Esser et al. 2021, section 3.1).

    distance: of two batches (n, 3, h, w) in [-1, 1], (n,); grey images are tiled for it.
    """

    def objective(output: Tensor, images: Tensor) -> Tensor:
        pair = (x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (images, output))
        return base(output, images) + weight * distance(*pair).mean()

    return objective
