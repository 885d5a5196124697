"""What stage 2 models: the pixels of images, or latents or codes of a frozen first stage.

As in Rombach et al. 2022 with a vector-quantised first stage, the latent before quantisation is
diffused, and the quantiser replaces it by a codevector when it is decoded. A codebook therefore
acts on diffusion through the latents of its encoder and through that replacement. A prior models
the codes themselves.

A space maps images in [-1, 1] to points that are modelled, and back. Nothing in it is trained.
"""

from __future__ import annotations

import torch
from einops import rearrange
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

    def noise(self, shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
        """Points of no training, normal as the latents are."""
        return torch.randn(shape, generator=stream)


class CodeSpace(nn.Module):
    """Codes of a frozen autoencoder, (b, q, h, w): q of each latent, in their order."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        """autoencoder: one with a codebook."""
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        quantiser = self.autoencoder.quantiser
        self.codebook_size = int(quantiser.codebook_size)  # type: ignore[arg-type]
        self.codes_per_latent = int(quantiser.codes_per_latent)  # type: ignore[arg-type]

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b q y x"]:
        """The codes of images."""
        stacked = self.autoencoder.quantise(images).codes.float()
        return rearrange(stacked, "b (q h) w -> b q h w", q=self.codes_per_latent)

    def decode(self, points: Float[Tensor, "b q y x"]) -> Float[Tensor, "b c h w"]:
        """The images of codes."""
        stacked = rearrange(points.long(), "b q h w -> b (q h) w")
        vectors = self.autoencoder.quantiser.decode(stacked)  # type: ignore[operator]
        return self.autoencoder.decoder(vectors).float()

    def noise(self, shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
        """Points of no training: every code as likely as any other."""
        return torch.randint(0, self.codebook_size, shape, generator=stream).float()


class PixelSpace(nn.Module):
    """The pixels themselves."""

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        return images

    def decode(self, points: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        return points

    def noise(self, shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
        """Points of no training: normal numbers."""
        return torch.randn(shape, generator=stream)
