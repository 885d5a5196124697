"""Goldens of metrics and of protocols."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.quantiser.interface import Assignment, Quantised
from tests.goldens.golden import Golden, Numbers, Wrong
from tests.goldens.made import pictures, summary, uniform
from workflows.data.metric_networks import Networks
from workflows.evaluation import codes, protocol
from workflows.evaluation import reconstructions as evaluation
from workflows.evaluation.latents import LatentError
from workflows.metrics import frechet, inception, manifold, perceptual

EXACT = protocol.load_protocol("exact")
IMAGES = pictures(24, 3, 32)
# Noise that grows with the image's number and leaves [0, 1].
NOISE = uniform(1, *IMAGES.shape) * np.linspace(0.1, 0.5, 24, dtype=np.float32)[:, None, None, None]
RESTORED = IMAGES / np.float32(255) + NOISE


class StandIn(nn.Module):
    """Six features of an image instead of Inception's, the distance of two instead of LPIPS."""

    def __init__(self) -> None:
        super().__init__()
        # It says which device the network is on.
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor, others: Tensor | None = None) -> Tensor:
        if others is not None:
            return (images - others).square().mean(dim=(1, 2, 3))
        rows = images.mean(3)
        return torch.cat([rows.mean(2), rows.amax(2)], dim=1)


def made_up(shape: torch.Size) -> Tensor:
    """Weights that keep a signal's size; those that were learned are downloaded."""
    scale = np.float32((24 * shape[0] / shape.numel()) ** 0.5)
    return torch.from_numpy(uniform(shape.numel(), *shape) * scale)


def perceptual_network(backbone: str) -> nn.Module:
    tensors = []
    for name, parameter in perceptual.empty(backbone).named_parameters():
        tensor = made_up(parameter.shape)
        # No head has a negative weight.
        tensors.append(tensor.abs() if name.startswith("lin") else tensor)
    return perceptual.load_perceptual(backbone, tensors)


def features() -> Numbers:
    """Those of two images, by Inception."""
    state = {}
    for name, shape in inception.kernels().items():
        state[f"{name}.conv.weight"] = made_up(shape)
        for number, part in enumerate(("weight", "bias", "running_mean", "running_var")):
            start = 0.1 if part in ("bias", "running_mean") else 1.0
            values = start + torch.from_numpy(uniform(number, shape[0]))
            state[f"{name}.bn.{part}"] = values
    network = inception.load_inception(state)
    values = evaluation.inception_features(IMAGES[:2], EXACT, network)
    return summary(torch.from_numpy(values), "features")


def measured(metric: str) -> Numbers:
    """As one row of an evaluation says it, with the network that the metric is about."""
    real = {"LPIPS": "vgg", "LPIPS-Alex": "alex"}
    stand_in: Any = StandIn()
    vgg, alex = (perceptual_network(real[name]) if metric == name else stand_in for name in real)
    networks = Networks(stand_in, vgg, alex)
    reference = evaluation.inception_features(IMAGES // 2 + 64, EXACT, networks.inception)
    measurement = evaluation.Measurement(EXACT, networks, reference, 20, 4)
    measurement.add(IMAGES, RESTORED)
    rows = measurement.rows()
    rows += evaluation.code_rows(np.array([5, 0, 3, 1, 0, 7, 1, 1]), EXACT, len(IMAGES))
    return {"value": next(row["value"] for row in rows if row["metric"] == metric)}


def of_samples(metric: str) -> Numbers:
    """Of made-up features; distances have more of them than images, and go another way then."""
    distances = {
        "FID": frechet.frechet_distance,
        "KID": frechet.kernel_distance,
        "KID-deviation": frechet.kernel_deviation,
    }
    width = 64 if metric in distances else 6
    real, generated = uniform(1, 50, width), uniform(2, 40, width) + np.float32(0.25)
    if metric in distances:
        return {"value": distances[metric](real, generated)}
    precision, recall = manifold.coverage(real, generated)
    return {"value": precision if metric == "precision" else recall}


def steps(name: str) -> Numbers:
    """What a protocol makes of pictures, but for JPEG."""
    settings = protocol.load_protocol(name).model_copy(update={"jpeg_quality": None})
    stored = settings.store(settings.quantise(RESTORED[:, :1]))
    arrays = {"originals": settings.originals(IMAGES), "stored": stored}
    arrays["for Inception"] = settings.for_inception(stored[:2])
    numbers: dict[str, Any] = {}
    for what, array in arrays.items():
        numbers |= {f"{what} shape": list(array.shape), f"{what} mean": float(array.mean())}
        numbers[f"{what} pixels"] = array[0, -1, 5, :8].tolist()
    return numbers


def through_jpeg() -> Numbers:
    settings = protocol.load_protocol("as_published")
    quantised = settings.quantise(RESTORED[:, :1])
    apart = settings.store(quantised).astype(int) - quantised
    return {"shift": float(apart.mean()), "error": float(np.abs(apart).mean())}


def at_once(old: Any) -> Any:
    def psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.full(len(images), old(*(x.reshape(1, 1, 1, -1) for x in (images, others)))[0])

    return psnr


METRICS, RECONSTRUCTIONS = "workflows.metrics", "workflows.evaluation.reconstructions"
PROTOCOL = "workflows.evaluation.protocol"
BIASED = Wrong(
    "features pair with themselves",
    f"{METRICS}.frechet._kernel_sum",
    lambda old: lambda a, b, skip_diagonal=False: old(a, b),
)
OVER_N = Wrong(
    "covariances are over N",
    f"{METRICS}.frechet._covariance",
    lambda old: lambda x, mean: old(x, mean) * (len(x) - 1) / len(x),
)
FOURTH = Wrong(
    "the fourth neighbour", f"{METRICS}.manifold._radii", lambda old: lambda x, k: old(x, k + 1)
)
BLACK = Wrong(
    "colours are neither shifted nor scaled",
    "lpips.lpips.ScalingLayer",
    lambda old: torch.nn.Identity,
)
# torchvision's block, which pytorch-fid's is made from.
PADDED = Wrong(
    "averages count the padding",
    "pytorch_fid.inception.FIDInceptionA",
    lambda old: old.__mro__[1],
)
BETTER = Wrong(
    "quality is 90", f"{PROTOCOL}._through_jpeg", lambda old: lambda one, quality: old(one, 90)
)


def of_latents() -> Numbers:
    """The error of codevectors beside latents whose mean is not nought."""
    error = LatentError()
    for seed in (2, 3):
        latents = torch.from_numpy(uniform(seed, 3, 4, 2, 2)) + 1
        rows = latents.permute(0, 2, 3, 1).reshape(-1, 4)
        assignment = Assignment(rows, torch.zeros(len(rows), dtype=torch.long))
        error.add(Quantised(latents * 0.9, torch.zeros(3, 2, 2, dtype=torch.long), {}, assignment))
    return {"error": error.over_variance()}


class TwoCodes:
    """A space and a prior: a pixel's code says whether the pixel is bright, and bright pixels are
    one in four.
    """

    def encode(self, images: Tensor) -> Tensor:
        return (images[:, :1] > 0).float()

    def eval(self) -> None:
        pass

    def bits(self, points: Tensor, labels: Tensor) -> Tensor:
        each = torch.where(points > 0, 2.0, float(np.log2(4 / 3)))
        return each.sum(dim=(1, 2, 3)) + labels


def of_codes() -> Numbers:
    """Over a whole batch and a part of another."""
    images, labels = np.tile(IMAGES, (3, 1, 1, 1)), np.arange(72)
    both = TwoCodes()
    return {"bits": codes.bits_of_a_code(both, both, images, labels, torch.device("cpu"))}


OF_RECONSTRUCTIONS = {
    "l1": Wrong("squares", f"{RECONSTRUCTIONS}.l1", lambda old: lambda a, b: old(a, b) ** 2),
    "PSNR": Wrong("of all images at once", f"{RECONSTRUCTIONS}.psnr", at_once),
    "SSIM": Wrong("a window of 7 pixels", f"{METRICS}.pixel.SSIM_WINDOW", lambda old: 7),
    "LPIPS": BLACK,
    "LPIPS-Alex": BLACK,
    "rFID": OVER_N,
    "KID": BIASED,
    "usage": Wrong(
        "a code hit once is not used",
        f"{RECONSTRUCTIONS}.usage",
        lambda old: lambda n: old(n // 2),
    ),
    "perplexity": Wrong(
        "the entropy is in bits",
        f"{RECONSTRUCTIONS}.perplexity",
        lambda old: lambda n: old(n) ** 1.4427,
    ),
}
OF_SAMPLES = {
    "FID": Wrong(
        "squares of singular values", "scipy.linalg.svdvals", lambda old: lambda x: old(x) ** 2
    ),
    "KID": BIASED,
    "KID-deviation": Wrong("four parts", f"{METRICS}.frechet.KID_PARTS", lambda old: 4),
    "precision": FOURTH,
    "recall": FOURTH,
}
PROTOCOLS = {
    "exact": Wrong("levels are cut off", "numpy.rint", lambda old: np.floor),
    "as_published": Wrong(
        "originals stay", f"{PROTOCOL}.Protocol.originals", lambda old: lambda self, images: images
    ),
    "samples": Wrong("grey stays grey", f"{PROTOCOL}.rgb", lambda old: lambda pictures: pictures),
}
SECOND_MOMENT = Wrong(
    "latents have no mean",
    "workflows.evaluation.latents.torch.Tensor.square",
    lambda old: lambda self: old(self) if self.ndim > 1 else old(0 * self),
)
GOLDENS = [
    Golden(kind, name, partial(numbers, name), wrong)
    for kind, numbers, wrongs in (
        ("metric", measured, OF_RECONSTRUCTIONS),
        ("metric of samples", of_samples, OF_SAMPLES),
        ("protocol", steps, PROTOCOLS),
    )
    for name, wrong in wrongs.items()
]
BITS = Wrong(
    "codes count twice",
    "workflows.evaluation.codes.torch.Tensor.numel",
    lambda old: lambda self: 2 * old(self),
)
GOLDENS += [
    Golden("metric of codes", "bits", of_codes, BITS),
    Golden("metric of latents", "error", of_latents, SECOND_MOMENT),
    Golden("metric", "rFID", features, PADDED, "Inception"),
    # Builds of JPEG's encoder differ a little, by far less than a level in the mean.
    Golden("protocol", "as_published", through_jpeg, BETTER, "JPEG", (1e-2, 0.1)),
]
