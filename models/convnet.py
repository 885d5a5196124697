"""Encoder and decoder of the published implementation for images of 28 to 64 pixels.

Two strided convolutions and two residual blocks; no normalisation, no output activation. A 28-pixel
image gives a 7 x 7 grid of latents, a 32-pixel one 8 x 8. Published settings: 500 epochs at
batch 1024. With K = 512 and D = 64 they have 691,393 parameters for one channel, 695,491 for three.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 128
RESIDUAL_HIDDEN = 32


class ResidualBlock(nn.Module):
    """h + conv1x1(relu(conv3x3(h))) with h = relu(x).

    The skip carries relu(x), not x: the published code applies its first ReLU in place, which also
    changes the skip's input.
    """

    def __init__(self) -> None:
        """128 channels outside, 32 inside."""
        super().__init__()
        self.narrow = nn.Conv2d(HIDDEN, RESIDUAL_HIDDEN, 3, padding=1)
        self.widen = nn.Conv2d(RESIDUAL_HIDDEN, HIDDEN, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same shape in and out."""
        h = F.relu(x)
        return h + self.widen(F.relu(self.narrow(h)))


class Upsampling(nn.ConvTranspose2d):
    """Transposed convolution of 4 x 4 and stride 2: (b, inputs, h, w) to (b, outputs, 2h, 2w).

    The bias is added afterwards. Inside a transposed convolution, oneDNN's gradient of the bias
    takes longer than that of the weights: a tenth of a training step in bfloat16.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """The parameters are those of ConvTranspose2d."""
        super().__init__(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 2*h 2*w"]:  # type: ignore[override]
        """Twice the size."""
        y = F.conv_transpose2d(x, self.weight, None, stride=2, padding=1)
        assert self.bias is not None
        return y.add_(self.bias.to(y.dtype)[:, None, None])


def encoder(channels: int, code_dim: int) -> nn.Sequential:
    """Images (b, channels, 4h, 4w) in [-1, 1] to latents (b, code_dim, h, w)."""
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
    """Codevectors (b, code_dim, h, w) to images (b, channels, 4h, 4w), about [-1, 1], unbounded."""
    return nn.Sequential(
        nn.Conv2d(code_dim, HIDDEN, 3, padding=1),
        ResidualBlock(),
        ResidualBlock(),
        nn.ReLU(),
        Upsampling(HIDDEN, HIDDEN // 2),
        nn.ReLU(),
        # With so few channels the gradient of a bias inside costs nothing.
        nn.ConvTranspose2d(HIDDEN // 2, channels, 4, stride=2, padding=1),
    )
