"""Spaces of points that stage 2 models: pixels, or the latents or codes of a frozen first stage.

A space maps images in [-1, 1] to points and back. Nothing in a space is trained.

As in Rombach et al. 2022 with a vector-quantised first stage, a diffusion model learns the latent
before quantisation, and decoding begins with the quantiser. So a codebook affects diffusion through
the latents of its encoder and through the replacement of a latent by a codevector.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from models.autoencoder import Autoencoder
from models.generation.interface import Shape


class LatentSpace(nn.Module):
    """Latents of a frozen autoencoder, scaled to unit variance."""

    scale: Tensor

    def __init__(self, autoencoder: Autoencoder, scale: float) -> None:
        """scale: one over the standard deviation of the latents of the training images."""
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.register_buffer("scale", torch.tensor(scale))

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Return the scaled latents before quantisation."""
        return self.autoencoder.encoder(images).float() * self.scale

    def decode(self, points: Float[Tensor, "b d y x"]) -> Float[Tensor, "b c h w"]:
        """Quantise, then decode."""
        quantised = self.autoencoder.quantiser(points / self.scale)
        return self.autoencoder.decoder(quantised.vectors).float()

    def noise(self, shape: Shape, stream: torch.Generator) -> Tensor:
        """Return the points of an untrained model: normal numbers."""
        return torch.randn(shape, generator=stream)


class CodeSpace(nn.Module):
    """Codes of a frozen autoencoder, (b, q, h, w), with q codes for each latent."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        """The autoencoder must have a codebook."""
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        quantiser = self.autoencoder.quantiser
        self.codebook_size = int(quantiser.codebook_size)  # type: ignore[arg-type]
        self.codes_per_latent = int(quantiser.codes_per_latent)  # type: ignore[arg-type]

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b q y x"]:
        """Return the codes of images."""
        stacked = self.autoencoder.quantise(images).codes.float()
        return rearrange(stacked, "b (q h) w -> b q h w", q=self.codes_per_latent)

    def decode(self, points: Float[Tensor, "b q y x"]) -> Float[Tensor, "b c h w"]:
        """Return the images of codes."""
        stacked = rearrange(points.long(), "b q h w -> b (q h) w")
        vectors = self.autoencoder.quantiser.decode(stacked)  # type: ignore[operator]
        return self.autoencoder.decoder(vectors).float()

    def noise(self, shape: Shape, stream: torch.Generator) -> Tensor:
        """Return the points of an untrained model: uniform codes."""
        return torch.randint(0, self.codebook_size, shape, generator=stream).float()


class PixelSpace(nn.Module):
    """The pixels of images. Points and images are the same."""

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the images."""
        return images

    decode = encode

    def noise(self, shape: Shape, stream: torch.Generator) -> Tensor:
        """Return the points of an untrained model: normal numbers."""
        return torch.randn(shape, generator=stream)
