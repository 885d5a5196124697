"""Encoder and decoder of the published implementation, for images of 28 to 64 pixels.

Each has two strided convolutions and two residual blocks, no normalisation and no output
activation. A 28-pixel image gives a 7 x 7 grid of latents, a 32-pixel image 8 x 8. The published
training takes 500 epochs at batch 1024. With K = 512 and D = 64 the whole model has 691,393
parameters for one channel and 695,491 for three.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 128
RESIDUAL_HIDDEN = 32


class ResidualBlock(nn.Module):
    """h + conv1x1(relu(conv3x3(h))) with h = relu(x).

    The skip carries relu(x) instead of x, because the published code applies its first ReLU in
    place, which also changes the input of the skip.
    """

    def __init__(self) -> None:
        """Build a block of 128 channels, with 32 channels inside."""
        super().__init__()
        self.narrow = nn.Conv2d(HIDDEN, RESIDUAL_HIDDEN, 3, padding=1)
        self.widen = nn.Conv2d(RESIDUAL_HIDDEN, HIDDEN, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Keep the shape."""
        h = F.relu(x)
        return h + self.widen(F.relu(self.narrow(h)))


def encoder(channels: int, code_dim: int) -> nn.Sequential:
    """Return a map from images (b, channels, 4h, 4w) in [-1, 1] to latents (b, code_dim, h, w)."""
    return nn.Sequential(
        nn.Conv2d(channels, HIDDEN // 2, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(HIDDEN // 2, HIDDEN, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
        ResidualBlock(),
        ResidualBlock(),
        nn.ReLU(),
        nn.Conv2d(HIDDEN, code_dim, 1),
    )


def decoder(channels: int, code_dim: int) -> nn.Sequential:
    """Return a map from codevectors (b, code_dim, h, w) to images (b, channels, 4h, 4w).

    The images are about [-1, 1] and unbounded.
    """
    return nn.Sequential(
        nn.Conv2d(code_dim, HIDDEN, 3, padding=1),
        ResidualBlock(),
        ResidualBlock(),
        nn.ReLU(),
        nn.ConvTranspose2d(HIDDEN, HIDDEN // 2, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(HIDDEN // 2, channels, 4, stride=2, padding=1),
    )
