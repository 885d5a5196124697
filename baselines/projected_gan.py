"""Projected GAN (Sauer et al. 2021): critics of a frozen network's features, mixed at random.

The generator is FastGAN's (Liu et al. 2021), built of the lighter of its two kinds of blocks, which
has one convolution and no noise inputs. Its skip connections excite a grid by that of a quarter of
its side, in place of a sixteenth, as small images have no such grids. Its convolutions have no
spectral norm: batch norm follows each of them and undoes what the norm would do.

The critics see features of EfficientNet-lite0, of which the last layers are not used. Images are
resized to a side of `feature_side` pixels first: the network halves a side five times and was
trained on 224, to which the official code resizes too.
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

from baselines.adversarial import SLOPE, augmented, frozen, sides_of, square, widths_of

BETAS = (0.0, 0.99)
# The blocks of EfficientNet-lite0 after which features are taken: a 4th to a 32nd of the side.
STAGES = (3, 5, 11, 16)
# Channels of the features, and of their random mixtures (appendix of Sauer et al.).
CHANNELS = (24, 40, 112, 320)
MIXED = (64, 128, 256, 512)
# Critics halve grids once at least, and down to this side, where they score patches.
SMALLEST = 8


def as_buffers(network: nn.Module, persistent: bool) -> nn.Module:
    """The same with weights that nothing trains. persistent: whether a state has them."""
    for part in network.modules():
        for name, value in [*part.named_parameters(recurse=False)]:
            delattr(part, name)
            part.register_buffer(name, value.detach(), persistent)
    return network


class Features(nn.Module):
    """EfficientNet-lite0 with its batch norms folded into the convolutions before them."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """weights: the published ones. Raises RuntimeError if they are of another network."""
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
        """Features of images in [-1, 1], the finest first, (b, CHANNELS[i], h / 4 / 2^i, ...)."""
        found = [self.stages[0](images)]
        for stage in self.stages[1:]:
            found.append(stage(found[-1]))
        return found


def _folded(block: Any) -> nn.Module:
    """A block of EfficientNet without batch norms, which leaves no mode to be in."""
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

    Drawn once (He et al. 2015) and never trained. The coarsest mixture is doubled by bilinear
    interpolation, convolved, added to the next finer one, and so on.
    """

    def __init__(self) -> None:
        """Draw them from torch's own generator, as other modules do."""
        super().__init__()
        across_channels = [
            nn.Conv2d(before, after, 1, bias=False)
            for before, after in zip(CHANNELS, MIXED, strict=True)
        ]
        # From the coarsest to the finest; each gives what the next one has.
        coarse_to_fine = (*MIXED[::-1], MIXED[0])
        across_scales = [
            nn.Conv2d(before, after, 3, padding=1, bias=False)
            for before, after in pairwise(coarse_to_fine)
        ]
        for conv in (*across_channels, *across_scales):
            nn.init.kaiming_normal_(conv.weight)
        self.across_channels = as_buffers(nn.ModuleList(across_channels), persistent=True)
        self.across_scales = as_buffers(nn.ModuleList(across_scales), persistent=True)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Mixtures, the coarsest first; each has twice the side of its features."""
        channels: Any = self.across_channels
        scales: Any = self.across_scales
        mixed = [conv(values) for conv, values in zip(channels, features, strict=True)]
        found: list[Tensor] = []
        for conv, values in zip(scales, reversed(mixed), strict=True):
            values = values + found[-1] if found else values
            doubled = F.interpolate(values, scale_factor=2.0, mode="bilinear")
            found.append(conv(doubled))
        return found


class Doubling(nn.Sequential):
    """Doubles a grid: nearest neighbours, convolution, batch norm, gated linear unit."""

    def __init__(self, before: int, after: int) -> None:
        """before, after: channels."""
        super().__init__(
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            nn.Conv2d(before, 2 * after, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * after),
            nn.GLU(1),
        )


class Excitation(nn.Sequential):
    """Factors in (0, 1) for the channels of a large grid, of a small grid (skip-layer excitation,
    section 3.1 of Liu et al.).
    """

    def __init__(self, before: int, after: int) -> None:
        """before, after: channels of the small and the large grid."""
        super().__init__(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(before, after, 4, bias=False),
            nn.SiLU(),
            nn.Conv2d(after, after, 1, bias=False),
            nn.Sigmoid(),
        )


class FastGenerator(nn.Module):
    """Makes images of `noise_dim` normal numbers (Liu et al. 2021).

    In training, batch norm goes by the batch. Samples are made in evaluation mode, by the running
    statistics, so that a sample does not depend on its batch. The loop averages weights and not
    these statistics: as in the official code, averaged weights meet the last statistics.
    """

    def __init__(self, shape: tuple[int, ...], channels: int, noise_dim: int) -> None:
        """shape: of an image, (c, h, w). channels: of the two lowest resolutions; each doubling
        after these halves them. Raises ValueError for sides that do not fit.
        """
        super().__init__()
        sides = sides_of(square(shape))
        widths = widths_of(len(sides), channels)
        self.noise_dim = noise_dim
        self.start = nn.Sequential(
            nn.ConvTranspose2d(noise_dim, 2 * widths[0], sides[0], bias=False),
            nn.BatchNorm2d(2 * widths[0]),
            nn.GLU(1),
        )
        self.doublings = nn.ModuleList(Doubling(*pair) for pair in pairwise(widths))
        self.excitations = nn.ModuleList(
            Excitation(*pair) for pair in zip(widths, widths[2:], strict=False)
        )
        self.to_rgb = nn.Conv2d(widths[-1], shape[0], 3, padding=1)
        # As published; what follows a batch norm needs no other start.
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, 0.0, 0.02)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def draw(self, count: int, stream: torch.Generator) -> Float[Tensor, "b z"]:
        """What `count` images are made of."""
        numbers = torch.randn(count, self.noise_dim, generator=stream)
        return numbers.to(self.to_rgb.weight.device)

    def forward(self, numbers: Float[Tensor, "b z"]) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1]."""
        unit = numbers * (numbers.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        grids = [self.start(unit[:, :, None, None])]
        for level, doubling in enumerate(self.doublings):
            grid = doubling(grids[-1])
            if level >= 1:
                grid = grid * self.excitations[level - 1](grids[level - 1])
            grids.append(grid)
        return self.to_rgb(grids[-1]).float().tanh()

    def sample(
        self,
        shape: tuple[int, ...],
        labels: Tensor | None,
        streams: Sequence[torch.Generator],
        quick: bool = False,
    ) -> Float[Tensor, "b c h w"]:
        """An image from each stream."""
        return self(torch.cat([self.draw(1, stream) for stream in streams]))


def patch_scores(before: int, side: int, widest: int) -> nn.Sequential:
    """A critic of a grid of features (b, before, side, side): a score for each patch."""
    parts: list[nn.Module] = []
    channels = before
    # Scores of what no batch norm has seen would have the size of the frozen network's features,
    # which spectral norms cannot undo.
    while side > SMALLEST or not parts:
        after = min(widest, 2 * channels)
        # By the batch at hand: real and made images are each normalised among themselves.
        norm = nn.BatchNorm2d(after, track_running_stats=False)
        conv = spectral_norm(nn.Conv2d(channels, after, 4, 2, 1))
        parts += [conv, norm, nn.LeakyReLU(SLOPE)]
        channels, side = after, side // 2
    return nn.Sequential(*parts, spectral_norm(nn.Conv2d(channels, 1, min(4, side))))


class ProjectedCritic(nn.Module):
    """Four critics, one a scale of randomly mixed features, with their optimiser."""

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: int,
        learning_rate: float,
        augment: bool,
        feature_side: int,
        weights: Mapping[str, Tensor],
    ) -> None:
        """shape: of an image, (c, h, w), c = 1 or 3. channels: of a critic at most. feature_side:
        pixels a side of what the frozen network sees, a multiple of 32. weights: of that network.
        Raises ValueError for other shapes.
        """
        super().__init__()
        square(shape)
        if shape[0] not in (1, 3):
            raise ValueError(f"images of {shape[0]} channels; allowed: 1 or 3")
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
        """Scores of each image's patches, (b, 1, y, x), the coarsest scale first; higher for images
        that look real.
        """
        sides = (self.feature_side, self.feature_side)
        images = F.interpolate(images, sides, mode="bilinear").expand(-1, 3, -1, -1)
        mixed = self.projections(self.features(images))
        return [critic(grid).float() for critic, grid in zip(self.critics, mixed, strict=True)]

    def seen(self, images: Tensor, stream: torch.Generator) -> list[Tensor]:
        """Scores of images, which may be augmented first."""
        return self(augmented(images, stream) if self.augment else images)

    def learn(
        self, model: nn.Module, points: Float[Tensor, "b c h w"], stream: torch.Generator, step: int
    ) -> None:
        """A step of Adam on the hinge loss, summed over the scales (eq. 4)."""
        with torch.no_grad():
            made = model(model.draw(len(points), stream))  # type: ignore[operator]
        # Apart, as batch norm would otherwise tell each kind by the other.
        low = [F.relu(1 + scores).mean() for scores in self.seen(made, stream)]
        high = [F.relu(1 - scores).mean() for scores in self.seen(points, stream)]
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(low + high).sum().backward()
        self.optimiser.step()

    def judge(self, model: nn.Module, count: int, stream: torch.Generator) -> Float[Tensor, ""]:
        """The generator's loss: minus the mean score, summed over the scales."""
        made = model(model.draw(count, stream))  # type: ignore[operator]
        with frozen(self):
            return -torch.stack([scores.mean() for scores in self.seen(made, stream)]).sum()
