"""StyleGAN2 (Karras et al. 2019, 2020) for small images.

These parts are as published: mapping network, constant input, modulated and demodulated
convolutions, noise inputs, sums of RGB outputs, residual critic with the minibatch's deviation,
non-saturating loss, lazy R1 and weights that learn at equal rates. The training loop averages the
generator's weights.

Departures: there is no style mixing, no regularisation of path lengths, and no truncation. The
mapping network has 2 layers instead of 8, as StyleGAN2-ADA's for small images (Karras et al.
2020a). Lazy R1 is added to the loss of every `r1_every`-th step, where the official code takes an
additional step and adapts Adam's rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.adversarial import BETAS, SLOPE, augmented, frozen, sides_of, unit, widths_of
from models.generation.interface import Labels, Points, Scalar, Shape, Streams

MAPPING_LAYERS = 2
# The mapping network learns at a hundredth of the rate of other layers.
MAPPING_RATE = 0.01
# The critic sees the deviation within groups of at most this many images.
GROUP = 4


def activated(values: Tensor) -> Tensor:
    """Apply a leaky ReLU, scaled so that the variance of normal numbers roughly stays."""
    return F.leaky_relu(values, SLOPE) * math.sqrt(2)


def blurred(values: Tensor, gain: float, padding: int, stride: int = 1) -> Tensor:
    """Convolve each channel with the outer square of (1, 3, 3, 1), scaled to a sum of `gain`."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=values.dtype, device=values.device) / 8
    channels = values.shape[1]
    kernel = (gain * taps[:, None] * taps).expand(channels, 1, 4, 4)
    return F.conv2d(values, kernel, padding=padding, stride=stride, groups=channels)


class Scaled(nn.Module):
    """A linear layer or a convolution whose weights are multiplied by `gain` when they are used.

    The weights begin as unit normal numbers, so Adam moves all layers at an equal rate (Karras et
    al. 2018, section 4.1).
    """

    def __init__(self, shape: Sequence[int], rate: float = 1.0, bias: float = 0.0) -> None:
        """shape: (out, in) or (out, in, k, k). rate: of learning. bias: its first value."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape) / rate)
        self.bias = nn.Parameter(torch.full((shape[0],), bias / rate))
        self.gain = rate / math.sqrt(math.prod(shape[1:]))
        self.rate = rate

    def weights(self) -> Tensor:
        """Return the weights times their gain."""
        return self.weight * self.gain

    def biases(self) -> Tensor:
        """Return the biases times their rate."""
        return self.bias * self.rate

    def forward(self, values: Tensor) -> Tensor:
        """Map (b, in) to (b, out), or (b, in, h, w) to (b, out, h, w)."""
        if self.weight.ndim == 2:
            return F.linear(values, self.weights(), self.biases())
        padding = self.weight.shape[-1] // 2
        return F.conv2d(values, self.weights(), self.biases(), padding=padding)


class Modulated(nn.Module):
    """A convolution whose weights are scaled by a style and demodulated (eq. 1 to 3 of 2020).

    Inputs are scaled instead of weights, and outputs instead of demodulated weights. The result is
    the same, and all samples share one convolution.
    """

    def __init__(
        self, before: int, after: int, kernel: int, styles: int, up: bool, demodulate: bool = True
    ) -> None:
        """before, after: channels. styles: length of a style. up: whether sides are doubled."""
        super().__init__()
        self.style = Scaled((before, styles), bias=1.0)
        self.conv = Scaled((after, before, kernel, kernel))
        self.up = up
        self.demodulate = demodulate

    def forward(
        self, values: Float[Tensor, "b c y x"], styles: Float[Tensor, "b s"]
    ) -> Float[Tensor, "b d h w"]:
        """Return the convolution without its bias."""
        scales = self.style(styles)
        weights, values = self.conv.weights(), values * scales[:, :, None, None]
        if self.up:
            # The transposed convolution leaves gaps, which the blur fills.
            doubled = F.conv_transpose2d(values, weights.transpose(0, 1), stride=2)
            values = blurred(doubled, 4.0, 1)
        else:
            values = F.conv2d(values, weights, padding=weights.shape[-1] // 2)
        if not self.demodulate:
            return values
        return values * demodulation(weights, scales)[:, :, None, None].to(values.dtype)


def demodulation(weights: Tensor, scales: Tensor) -> Float[Tensor, "b d"]:
    """Return one over the norm of each output's scaled weights, (b, out), in float32.

    weights: (out, in, k, k). scales: (b, in). Half precision could not hold the squares.
    """
    with torch.autocast(weights.device.type, enabled=False):
        squares = weights.float().square().sum((2, 3))
        return (scales.float().square() @ squares.T + 1e-8).rsqrt()


class Styled(nn.Module):
    """A modulated convolution, noise of a learned strength, bias and activation."""

    def __init__(self, before: int, after: int, styles: int, up: bool) -> None:
        """The arguments are those of Modulated."""
        super().__init__()
        self.conv = Modulated(before, after, 3, styles, up)
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor, styles: Tensor, noise: Tensor) -> Tensor:
        """Return the activations, (b, after, h, w). noise: (b, 1, h, w)."""
        made = self.conv(values, styles) + self.strength * noise
        return activated(made + self.conv.conv.biases()[:, None, None])


class StyleGenerator(nn.Module):
    """Makes images of normal numbers: `noise_dim` become a style, the others are noise inputs."""

    def __init__(self, shape: Shape, channels: int, noise_dim: int) -> None:
        """shape: of an image, (c, s, s). channels: of the two smallest grids, see `widths_of`.
        noise_dim: also the length of a style. Raises ValueError for sides that do not fit.
        """
        super().__init__()
        sides = sides_of(shape[-1])
        widths = widths_of(len(sides), channels)
        self.noise_dim = noise_dim
        # The sides of the noise inputs, in the order of the convolutions.
        self.sides = [sides[0], *(side for side in sides[1:] for _ in range(2))]
        self.mapping = nn.ModuleList(
            Scaled((noise_dim, noise_dim), MAPPING_RATE) for _ in range(MAPPING_LAYERS)
        )
        self.constant = nn.Parameter(torch.randn(widths[0], sides[0], sides[0]))
        self.convs = nn.ModuleList([Styled(widths[0], widths[0], noise_dim, up=False)])
        for before, after in pairwise(widths):
            self.convs.append(Styled(before, after, noise_dim, up=True))
            self.convs.append(Styled(after, after, noise_dim, up=False))
        self.to_rgb = nn.ModuleList(
            Modulated(width, shape[0], 1, noise_dim, up=False, demodulate=False) for width in widths
        )

    def draw(self, count: int, stream: torch.Generator) -> list[Tensor]:
        """Draw the numbers that `count` images are made of: (count, noise_dim), then (count, 1, s,
        s) for each convolution.
        """
        device = self.constant.device
        shapes = [(self.noise_dim,), *((1, side, side) for side in self.sides)]
        return [torch.randn(count, *shape, generator=stream).to(device) for shape in shapes]

    def forward(self, numbers: Float[Tensor, "b z"], *noise: Tensor) -> Float[Tensor, "b c h w"]:
        """Return images, mostly in [-1, 1] but unbounded."""
        styles = unit(numbers)
        for layer in self.mapping:
            styles = activated(layer(styles))
        values = self.convs[0](self.constant.expand(len(styles), -1, -1, -1), styles, noise[0])
        image = self._rgb(0, values, styles)
        for level in range(1, len(self.to_rgb)):
            for index in (2 * level - 1, 2 * level):
                values = self.convs[index](values, styles, noise[index])
            # Away from the border, bilinear doubling is the same filter, (1, 3, 3, 1).
            image = F.interpolate(image, scale_factor=2.0, mode="bilinear")
            image = image + self._rgb(level, values, styles)
        return image

    def _rgb(self, level: int, values: Tensor, styles: Tensor) -> Tensor:
        layer: Any = self.to_rgb[level]
        return layer(values, styles).float() + layer.conv.biases()[:, None, None]

    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Return an image from each stream, clipped to [-1, 1]."""
        drawn = [self.draw(1, stream) for stream in streams]
        return self(*(torch.cat(rows) for rows in zip(*drawn, strict=True))).clamp(-1, 1)


class Residual(nn.Module):
    """Two convolutions beside a shortcut; both paths halve the sides."""

    def __init__(self, before: int, after: int) -> None:
        """before, after: channels."""
        super().__init__()
        self.first = Scaled((before, before, 3, 3))
        self.second = Scaled((after, before, 3, 3))
        self.past = Scaled((after, before, 1, 1))

    def forward(self, values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Return the sum of both paths, with halved sides, rounded down."""
        made = blurred(activated(self.first(values)), 1.0, 2)
        made = F.conv2d(made, self.second.weights(), self.second.biases(), stride=2)
        past = F.conv2d(blurred(values, 1.0, 1, 2), self.past.weights())
        return (activated(made) + past) / math.sqrt(2)


def with_deviation(values: Float[Tensor, "b c h w"]) -> Tensor:
    """Add a channel with the standard deviation among the images of a group, averaged over all
    values.

    The size of a group is the largest divisor of the batch size up to 4.
    """
    count, _, height, width = values.shape
    group = max(size for size in range(1, GROUP + 1) if count % size == 0)
    grouped = values.float().unflatten(0, (group, count // group))
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    column = deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([values, column.to(values.dtype)], 1)


class StyleCritic(nn.Module):
    """Learns to give real images higher scores than made ones, with its own optimiser."""

    def __init__(
        self,
        shape: Shape,
        channels: int,
        learning_rate: float,
        r1_weight: float,
        r1_every: int,
        augment: bool,
    ) -> None:
        """shape, channels: those of the generator. r1_weight: γ. r1_every: steps from one penalty
        to the next. augment: whether all images are augmented before they are scored.
        """
        super().__init__()
        sides = sides_of(shape[-1])
        widths = widths_of(len(sides), channels)[::-1]
        self.from_rgb = Scaled((widths[0], shape[0], 1, 1))
        self.blocks = nn.Sequential(*(Residual(*pair) for pair in pairwise(widths)))
        self.last = Scaled((widths[-1], widths[-1] + 1, 3, 3))
        self.hidden = Scaled((widths[-1], widths[-1] * sides[0] ** 2))
        self.score = Scaled((1, widths[-1]))
        self.r1_weight, self.r1_every, self.augment = r1_weight, r1_every, augment
        self.optimiser = torch.optim.Adam(self.parameters(), learning_rate, BETAS, fused=True)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Return a score for each image; a higher score means that the image looks more real."""
        values = self.blocks(activated(self.from_rgb(images)))
        values = activated(self.last(with_deviation(values)))
        return self.score(activated(self.hidden(values.flatten(1)))).float().squeeze(1)

    def scores(self, images: Tensor, stream: torch.Generator) -> Tensor:
        """Return the scores of images, which are augmented first if the critic was told so."""
        return self(augmented(images, stream) if self.augment else images)

    def learn(self, model: nn.Module, points: Points, stream: torch.Generator, step: int) -> None:
        """Take a step of Adam on the logistic loss, with R1 in every `r1_every`-th step."""
        with torch.no_grad():
            made = model(*model.draw(len(points), stream))  # type: ignore[operator]
        low, high = self.scores(made, stream), self.scores(points, stream)
        loss = F.softplus(low).mean() + F.softplus(-high).mean()
        if self.r1_weight and step % self.r1_every == 0:
            loss = loss + self.r1_every * self.r1_weight / 2 * self.penalty(points, stream)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def penalty(self, points: Points, stream: torch.Generator) -> Scalar:
        """Return R1 (Mescheder et al. 2018): the mean squared norm of the gradient of the scores by
        real images, in float32.
        """
        # The gradient is differentiated again, for which half precision is too coarse.
        with torch.autocast(points.device.type, enabled=False):
            points = points.detach().requires_grad_()
            scores = self.scores(points, stream)
            (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
            return gradient.square().sum((1, 2, 3)).mean()

    def judge(self, model: nn.Module, count: int, stream: torch.Generator) -> Scalar:
        """Return the generator's non-saturating loss."""
        made = model(*model.draw(count, stream))  # type: ignore[operator]
        with frozen(self):
            return F.softplus(-self.scores(made, stream)).mean()
