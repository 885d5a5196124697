"""What diffusion works on: the latents of a frozen first stage, or pixels.

Rombach et al. 2022 with a vector-quantised first stage: the latent before quantisation is
diffused, and the quantiser snaps to codevectors at the beginning of the decoder. A better codebook
therefore acts through the latents that it was trained with, and through that snap.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.autoencoder import Autoencoder


@runtime_checkable
class Space(Protocol):
    """Images in [-1, 1] to what is diffused and back. Nothing in it is trained."""

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """What diffusion learns of images in [-1, 1]."""
        ...

    def decode(self, points: Float[Tensor, "b d y x"]) -> Float[Tensor, "b c h w"]:
        """Images, about [-1, 1], unbounded."""
        ...


class LatentSpace(nn.Module):
    """Latents of a frozen autoencoder, times a measured factor so that their variance is one."""

    scale: Tensor

    def __init__(self, autoencoder: Autoencoder, scale: float) -> None:
        """scale: one over the standard deviation of the training images' latents.

        Raises ValueError unless it is positive.
        """
        if not scale > 0:
            raise ValueError(f"scale: expected a positive number, got {scale}")
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.register_buffer("scale", torch.tensor(scale))

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Latents before quantisation, scaled."""
        return self.autoencoder.encoder(images).float() * self.scale

    def decode(self, points: Float[Tensor, "b d y x"]) -> Float[Tensor, "b c h w"]:
        """Snap to codevectors, then decode."""
        quantised = self.autoencoder.quantiser(points / self.scale)
        return self.autoencoder.decoder(quantised.vectors).float()


class PixelSpace(nn.Module):
    """Pixels themselves: nothing is lost, and everything is to be learned."""

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        return images

    def decode(self, points: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        return points
