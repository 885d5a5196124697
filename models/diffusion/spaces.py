"""What diffusion works on: the latents of a frozen first stage, or pixels.

As in Rombach et al. 2022 with a vector-quantised first stage, the latent before quantisation is
diffused, and the quantiser replaces it by a codevector when it is decoded. A codebook therefore
acts through the latents of its encoder and through that replacement.

A space maps images in [-1, 1] to points that are diffused, and back. Nothing in it is trained.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.autoencoder import Autoencoder


class LatentSpace(nn.Module):
    """Latents of a frozen autoencoder, scaled to a variance of one."""

    scale: Tensor

    def __init__(self, autoencoder: Autoencoder, scale: float) -> None:
        """scale: one over the standard deviation of the training images' latents."""
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.register_buffer("scale", torch.tensor(scale))

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Latents before quantisation, scaled."""
        return self.autoencoder.encoder(images).float() * self.scale

    def decode(self, points: Float[Tensor, "b d y x"]) -> Float[Tensor, "b c h w"]:
        """Quantise, then decode."""
        quantised = self.autoencoder.quantiser(points / self.scale)
        return self.autoencoder.decoder(quantised.vectors).float()


class PixelSpace(nn.Module):
    """The pixels themselves."""

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        return images

    def decode(self, points: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        return points
