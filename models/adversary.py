"""The adversarial term of VQGAN (Esser et al. 2021, section 3.1), with a critic of image patches.

The term computes when called and changes state only in `adapt`, as a quantiser does.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# The values of the published configurations.
WIDTHS = (64, 128, 256, 512)
SLOPE = 0.2
LARGEST_WEIGHT = 1e4


def patch_critic(channels: int) -> nn.Sequential:
    """Return the critic of Isola et al. 2017, from images to a score per patch of 70 x 70 pixels.

    Images have the shape (b, channels, h, w), scores (b, 1, y, x).
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, WIDTHS[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
    for inputs, outputs in pairwise(WIDTHS):
        layers += [
            nn.Conv2d(inputs, outputs, 4, 1 if outputs == WIDTHS[-1] else 2, 1, bias=False),
            # The published training also normalises by the batch where it scores the decoder. With
            # running averages over real images and reconstructions, the decoder would answer to
            # another function than the trained critic, and find patterns that nothing punishes.
            nn.BatchNorm2d(outputs, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
        ]
    critic = nn.Sequential(*layers, nn.Conv2d(WIDTHS[-1], 1, 4, 1, 1))
    for layer in critic:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return critic


class Adversary(nn.Module):
    """A critic with its optimiser, which has no effect in the first steps."""

    steps: Tensor

    def __init__(self, channels: int, start: int, weight: float, learning_rate: float) -> None:
        """channels: of the images. start: the first step that counts. weight: of the term."""
        super().__init__()
        self.critic = patch_critic(channels)
        self.start = start
        self.weight = weight
        self.optimiser = torch.optim.Adam(
            self.critic.parameters(), learning_rate, betas=(0.5, 0.9), fused=True
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        images: Float[Tensor, "b c h w"],
        reconstruction: Float[Tensor, ""],
        last_layer: Tensor,
    ) -> Float[Tensor, ""]:
        """Return the adversarial term of the decoder (equations 6 and 7).

        The term is -mean(score), scaled so that its gradient is `weight` times as long as that of
        the reconstruction term. Both gradients are taken at `last_layer`, the last weight of the
        decoder. images: the decoder's output, with its graph.
        """
        if int(self.steps) < self.start:
            return images.new_zeros(())
        term = -self.critic(images).mean()
        # Differentiate by the images once, so that the critic's own weights get no gradient and
        # `backward` need not pass through the critic again.
        (image_gradient,) = torch.autograd.grad(term, images)
        lengths = [
            torch.autograd.grad(output, last_layer, gradient, retain_graph=True)[0].norm()
            for output, gradient in ((reconstruction, None), (images, image_gradient))
        ]
        balance = (lengths[0] / (lengths[1] + 1e-4)).clamp(0, LARGEST_WEIGHT).detach()
        # This has the value of `term`, and its gradient by the images is `image_gradient`.
        linear_term = term.detach() + ((images - images.detach()) * image_gradient).sum()
        return self.weight * balance * linear_term

    def adapt(
        self, images: Float[Tensor, "b c h w"], reconstructions: Float[Tensor, "b c h w"]
    ) -> None:
        """Count the step, and train the critic by the hinge loss to tell the two apart."""
        self.steps += 1
        if int(self.steps) <= self.start:
            return
        real, made = self.critic(images.detach()), self.critic(reconstructions.detach())
        loss = (F.relu(1 - real).mean() + F.relu(1 + made).mean()) / 2
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
