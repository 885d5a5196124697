"""Encoder and decoder of VQGAN (Esser et al. 2021), for images of 64 to 256 pixels.

The blocks come from diffusers (Apache licence 2.0). The widths of the levels and the 1 x 1
convolutions on both sides of the codebook follow the published configurations: f = 4 and 8 of
latent diffusion, f = 16 of VQGAN. Only the lowest resolution has attention.
"""

from __future__ import annotations

from diffusers.models.autoencoders.vae import Decoder, Encoder
from jaxtyping import Float
from torch import Tensor, nn

# Downsampling f -> the width of each level as a multiple, from the highest resolution down.
MULTIPLES = {4: (1, 2, 4), 8: (1, 2, 2, 4), 16: (1, 1, 2, 2, 4)}
# Groups of the normalisation; all widths must be multiples of this.
GROUPS = 32


def encoder(channels: int, code_dim: int, downsampling: int, width: int, blocks: int) -> nn.Module:
    """Return a map from images (b, channels, f h, f w) in [-1, 1] to latents (b, code_dim, h, w).

    downsampling: f. width: channels at the highest resolution, a multiple of 32. blocks: residual
    blocks per level.
    """
    widths = tuple(width * multiple for multiple in MULTIPLES[downsampling])
    return nn.Sequential(
        Encoder(
            in_channels=channels,
            out_channels=code_dim,
            down_block_types=("DownEncoderBlock2D",) * (len(widths) - 1)
            + ("AttnDownEncoderBlock2D",),
            block_out_channels=widths,
            layers_per_block=blocks,
            norm_num_groups=GROUPS,
            double_z=False,
        ),
        nn.Conv2d(code_dim, code_dim, 1),
    )


class VqganDecoder(nn.Module):
    """A map from codevectors (b, code_dim, h, w) to images (b, channels, f h, f w), unbounded."""

    def __init__(
        self,
        channels: int,
        code_dim: int,
        downsampling: int,
        width: int,
        blocks: int,
        modulated: bool = False,
    ) -> None:
        """The first five arguments are those of `encoder`. modulated: the codevector of each
        position scales and shifts every normalisation there (MoVQ, Zheng et al. 2022, section 3.2).
        """
        super().__init__()
        widths = tuple(width * multiple for multiple in MULTIPLES[downsampling])
        self.modulated = modulated
        self.enter = nn.Conv2d(code_dim, code_dim, 1)
        self.blocks = Decoder(
            in_channels=code_dim,
            out_channels=channels,
            up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * (len(widths) - 1),
            block_out_channels=widths,
            layers_per_block=blocks,
            norm_num_groups=GROUPS,
            norm_type="spatial" if modulated else "group",
        )

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight whose gradients balance the adversarial term."""
        return self.blocks.conv_out.weight  # type: ignore[return-value]

    def forward(self, vectors: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c y x"]:
        """Decode codevectors."""
        return self.blocks(self.enter(vectors), vectors if self.modulated else None)
