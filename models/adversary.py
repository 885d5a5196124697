"""The adversarial term of VQGAN (Esser et al. 2021, section 3.1): a critic of patches.

As a quantiser does, it computes when called and changes only in `adapt`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# Of the published configurations.
WIDTHS = (64, 128, 256, 512)
SLOPE = 0.2
LARGEST_WEIGHT = 1e4


def patch_critic(channels: int) -> nn.Sequential:
    """Images (b, channels, h, w) to a score for each patch of 70 x 70 pixels, (b, 1, y, x).

    Isola et al. 2017.
    """
    parts: list[nn.Module] = [nn.Conv2d(channels, WIDTHS[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
    for before, after in pairwise(WIDTHS):
        parts += [
            nn.Conv2d(before, after, 4, 1 if after == WIDTHS[-1] else 2, 1, bias=False),
            # By the batch at hand, also where the decoder is scored, as in the published training.
            # With averages over real and made images the decoder would answer to another function
            # than the one that learns to tell them apart, and find patterns that nobody punishes.
            nn.BatchNorm2d(after, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
        ]
    critic = nn.Sequential(*parts, nn.Conv2d(WIDTHS[-1], 1, 4, 1, 1))
    for module in critic:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return critic


class Adversary(nn.Module):
    """A critic with its optimiser, silent for the first steps; all of it is in the state dict."""

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
        self, images: Float[Tensor, "b c h w"], others: Float[Tensor, ""], last_layer: Tensor
    ) -> Float[Tensor, ""]:
        """What the decoder loses to the critic, weighted so that it pulls as much as `others`.

        images: the decoder's, with their graph. others: their other losses. last_layer: the
        decoder's last weight, where both pulls are compared (eq. 6 and 7).
        """
        if int(self.steps) < self.start:
            return images.new_zeros(())
        term = -self.critic(images).mean()
        # Once back through the critic, and not to its weights, whose gradients nobody wants here.
        (pull,) = torch.autograd.grad(term, images)
        pulls = [
            torch.autograd.grad(loss, last_layer, slope, retain_graph=True)[0].norm()
            for loss, slope in ((others, None), (images, pull))
        ]
        balance = (pulls[0] / (pulls[1] + 1e-4)).clamp(0, LARGEST_WEIGHT).detach()
        # The term, as a function of `images` whose gradient is known.
        known = term.detach() + ((images - images.detach()) * pull).sum()
        return self.weight * balance * known

    def adapt(
        self, images: Float[Tensor, "b c h w"], reconstructions: Float[Tensor, "b c h w"]
    ) -> None:
        """Train the critic to tell them apart, by hinge loss, and count the step."""
        self.steps += 1
        if int(self.steps) <= self.start:
            return
        with torch.enable_grad():
            real, made = self.critic(images.detach()), self.critic(reconstructions.detach())
            loss = (F.relu(1 - real).mean() + F.relu(1 + made).mean()) / 2
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
