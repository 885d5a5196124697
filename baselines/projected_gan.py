"""Projected GAN (Sauer et al. 2021): critics of a frozen network's features, mixed at random.

The generator is FastGAN's (Liu et al. 2021), built of the lighter of its two kinds of blocks, which
has one convolution and no noise inputs. A skip connection excites a grid by the grid of a quarter
of its side instead of a sixteenth, because small images have no such grids. The convolutions have
no spectral norm, because the batch norm after each of them would undo it.

The critics see features of EfficientNet-lite0, whose last layers are not used. Images are first
resized to a side of `feature_side` pixels: the network halves a side five times and was trained on
224 pixels, to which the official code resizes too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from baselines.adversarial import BETAS, SLOPE, augmented, frozen, sides_of, unit, widths_of
from models.generation.interface import Labels, Points, Scalar, Shape, Streams

# Features are taken after these blocks of EfficientNet-lite0: a 4th to a 32nd of the side.
STAGES = (3, 5, 11, 16)
# Channels of the features, and of their random mixtures (appendix of Sauer et al.).
CHANNELS = (24, 40, 112, 320)
MIXED = (64, 128, 256, 512)
# A critic halves its grid once, and again while the side is above this; then it scores patches.
SMALLEST = 8


def as_buffers(network: nn.Module, persistent: bool) -> nn.Module:
    """Turn all parameters of a network into buffers, which nothing trains, and return the network.

    persistent: whether the state dict holds the buffers.
    """
    for part in network.modules():
        for name, value in [*part.named_parameters(recurse=False)]:
            delattr(part, name)
            part.register_buffer(name, value.detach(), persistent)
    return network


class Features(nn.Module):
    """EfficientNet-lite0 with each batch norm folded into the convolution before it."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """weights: the published ones. Raises RuntimeError if they belong to another network."""
        super().__init__()
        with torch.device("meta"):
            network: Any = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(weights, assign=True)
        network.eval()
        stem = fuse_conv_bn_eval(network._conv_stem, network._bn0)
        blocks = [_folded(block) for block in network._blocks]
        parts = [nn.Sequential(stem, nn.ReLU6(), *blocks[: STAGES[0]])]
        parts += [nn.Sequential(*blocks[start:end]) for start, end in pairwise(STAGES)]
        self.stages = nn.ModuleList(as_buffers(part, persistent=False) for part in parts)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return features of images in [-1, 1], (b, CHANNELS[i], h / 4 / 2^i, w / 4 / 2^i)."""
        features: list[Tensor] = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features


def _folded(block: Any) -> nn.Module:
    """Fold the batch norms of a block of EfficientNet into its convolutions."""
    for conv, norm in (
        ("_expand_conv", "_bn0"),
        ("_depthwise_conv", "_bn1"),
        ("_project_conv", "_bn2"),
    ):
        if hasattr(block, conv):
            setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
            setattr(block, norm, nn.Identity())
    return block


class Projections(nn.Module):
    """Random mixtures of features, across channels and across scales (section 4.1).

    The weights are drawn once (He et al. 2015) and never trained. The coarsest mixture is doubled
    by bilinear interpolation, convolved, added to the next finer mixture, and so on.
    """

    def __init__(self) -> None:
        """Draw the weights from torch's global generator, as other modules do."""
        super().__init__()
        across_channels = [
            nn.Conv2d(before, after, 1, bias=False)
            for before, after in zip(CHANNELS, MIXED, strict=True)
        ]
        across_scales = [
            nn.Conv2d(before, after, 3, padding=1, bias=False)
            for before, after in pairwise((*MIXED[::-1], MIXED[0]))
        ]
        for conv in (*across_channels, *across_scales):
            nn.init.kaiming_normal_(conv.weight)
        self.across_channels = as_buffers(nn.ModuleList(across_channels), persistent=True)
        self.across_scales = as_buffers(nn.ModuleList(across_scales), persistent=True)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return mixtures, the coarsest first; each has twice the side of its features."""
        channels: Any = self.across_channels
        scales: Any = self.across_scales
        mixed = [conv(values) for conv, values in zip(channels, features, strict=True)]
        outputs: list[Tensor] = []
        for conv, values in zip(scales, reversed(mixed), strict=True):
            values = values + outputs[-1] if outputs else values
            doubled = F.interpolate(values, scale_factor=2.0, mode="bilinear")
            outputs.append(conv(doubled))
        return outputs


def doubling(before: int, after: int) -> nn.Sequential:
    """Return a block that doubles a grid and takes it from `before` to `after` channels."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2.0, mode="nearest"),
        nn.Conv2d(before, 2 * after, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * after),
        nn.GLU(1),
    )


def excitation(before: int, after: int) -> nn.Sequential:
    """Return a skip-layer excitation (section 3.1 of Liu et al.).

    The block maps a small grid of `before` channels to a factor in (0, 1) for each of the `after`
    channels of a large grid.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4),
        nn.Conv2d(before, after, 4, bias=False),
        nn.SiLU(),
        nn.Conv2d(after, after, 1, bias=False),
        nn.Sigmoid(),
    )


class FastGenerator(nn.Module):
    """Makes images of `noise_dim` normal numbers (Liu et al. 2021).

    Batch norm uses the batch in training and running statistics in evaluation mode, so that a
    sample does not depend on its batch. The training loop averages weights but not the running
    statistics: as in the official code, the averaged weights meet the last statistics.
    """

    def __init__(self, shape: Shape, channels: int, noise_dim: int) -> None:
        """shape: of an image, (c, s, s). channels: of the two smallest grids, see `widths_of`.

        Raises ValueError for sides that do not fit.
        """
        super().__init__()
        sides = sides_of(shape[-1])
        widths = widths_of(len(sides), channels)
        self.noise_dim = noise_dim
        self.start = nn.Sequential(
            nn.ConvTranspose2d(noise_dim, 2 * widths[0], sides[0], bias=False),
            nn.BatchNorm2d(2 * widths[0]),
            nn.GLU(1),
        )
        self.doublings = nn.ModuleList(doubling(*pair) for pair in pairwise(widths))
        self.excitations = nn.ModuleList(
            excitation(*pair) for pair in zip(widths, widths[2:], strict=False)
        )
        self.to_rgb = nn.Conv2d(widths[-1], shape[0], 3, padding=1)
        # These deviations are the published ones.
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, 0.0, 0.02)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def draw(self, count: int, stream: torch.Generator) -> Float[Tensor, "b z"]:
        """Draw the numbers that `count` images are made of."""
        numbers = torch.randn(count, self.noise_dim, generator=stream)
        return numbers.to(self.to_rgb.weight.device)

    def forward(self, numbers: Float[Tensor, "b z"]) -> Float[Tensor, "b c h w"]:
        """Return images in [-1, 1]."""
        grids = [self.start(unit(numbers)[:, :, None, None])]
        for level, double in enumerate(self.doublings):
            grid = double(grids[-1])
            if level >= 1:
                grid = grid * self.excitations[level - 1](grids[level - 1])
            grids.append(grid)
        return self.to_rgb(grids[-1]).float().tanh()

    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Return an image from each stream."""
        return self(torch.cat([self.draw(1, stream) for stream in streams]))


def patch_scores(before: int, side: int, widest: int) -> nn.Sequential:
    """Return a critic that gives each patch of a grid (b, before, side, side) a score."""
    parts: list[nn.Module] = []
    channels = before
    # At least one batch norm is needed: without any, scores would have the size of the frozen
    # network's features, which spectral norms cannot undo.
    while side > SMALLEST or not parts:
        after = min(widest, 2 * channels)
        # Without running statistics, real and made images are each normalised among themselves.
        norm = nn.BatchNorm2d(after, track_running_stats=False)
        conv = spectral_norm(nn.Conv2d(channels, after, 4, 2, 1))
        parts += [conv, norm, nn.LeakyReLU(SLOPE)]
        channels, side = after, side // 2
    return nn.Sequential(*parts, spectral_norm(nn.Conv2d(channels, 1, min(4, side))))


class ProjectedCritic(nn.Module):
    """Four critics, one for each scale of randomly mixed features, with their optimiser."""

    def __init__(
        self,
        channels: int,
        learning_rate: float,
        augment: bool,
        feature_side: int,
        weights: Mapping[str, Tensor],
    ) -> None:
        """channels: of a critic at most. augment: whether all images are augmented before they are
        scored. feature_side: side of the images that the frozen network sees, a multiple of 32.
        weights: of the frozen network.
        """
        super().__init__()
        self.features = Features(weights)
        self.projections = Projections()
        outputs = zip((*MIXED[-2::-1], MIXED[0]), (16, 8, 4, 2), strict=True)
        self.critics = nn.ModuleList(
            patch_scores(mixed, feature_side // stride, channels) for mixed, stride in outputs
        )
        self.feature_side = feature_side
        self.augment = augment
        self.optimiser = torch.optim.Adam(self.parameters(), learning_rate, BETAS, fused=True)

    def forward(self, images: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Return the scores of patches, (b, 1, y, x), the coarsest scale first.

        A higher score means that the patch looks more real.
        """
        sides = (self.feature_side, self.feature_side)
        images = F.interpolate(images, sides, mode="bilinear").expand(-1, 3, -1, -1)
        mixed = self.projections(self.features(images))
        return [critic(grid).float() for critic, grid in zip(self.critics, mixed, strict=True)]

    def scores(self, images: Tensor, stream: torch.Generator) -> list[Tensor]:
        """Return the scores of images, which are augmented first if the critic was told so."""
        return self(augmented(images, stream) if self.augment else images)

    def learn(self, model: nn.Module, points: Points, stream: torch.Generator, step: int) -> None:
        """Take a step of Adam on the hinge loss, summed over the scales (eq. 4)."""
        with torch.no_grad():
            made = model(model.draw(len(points), stream))  # type: ignore[operator]
        # In one batch, batch norm would give real and made images away by each other.
        low = [F.relu(1 + scores).mean() for scores in self.scores(made, stream)]
        high = [F.relu(1 - scores).mean() for scores in self.scores(points, stream)]
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(low + high).sum().backward()
        self.optimiser.step()

    def judge(self, model: nn.Module, count: int, stream: torch.Generator) -> Scalar:
        """Return the generator's loss: minus the mean score, summed over the scales."""
        made = model(model.draw(count, stream))  # type: ignore[operator]
        with frozen(self):
            return -torch.stack([scores.mean() for scores in self.scores(made, stream)]).sum()
