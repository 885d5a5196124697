"""Encoder, quantiser and decoder as one model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.quantiser.interface import Quantised


@dataclass(frozen=True)
class Reconstruction:
    """images: about [-1, 1], unbounded, in the shape of the input. quantised: what was decoded."""

    images: Float[Tensor, "b c h w"]
    quantised: Quantised


class Autoencoder(nn.Module):
    """A model that maps images to latents, latents to codevectors, and codevectors to images."""

    def __init__(self, encoder: nn.Module, quantiser: nn.Module, decoder: nn.Module) -> None:
        """The encoder must give latents of the quantiser's code dimension."""
        super().__init__()
        self.encoder = encoder
        self.quantiser = quantiser
        self.decoder = decoder

    def forward(self, images: Float[Tensor, "b c h w"]) -> Reconstruction:
        """Reconstruct images in [-1, 1]. Their sides must be multiples of the encoder's stride."""
        quantised = self.quantise(images)
        return Reconstruction(self.decoder(quantised.vectors).float(), quantised)

    def quantise(self, images: Float[Tensor, "b c h w"]) -> Quantised:
        """Encode and quantise images without decoding.

        Under autocast the encoder runs in low precision and the quantiser in single precision. With
        distances in bfloat16 some latents would receive another code.
        """
        latents = self.encoder(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.quantiser(latents.float())
