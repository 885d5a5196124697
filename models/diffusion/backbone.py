"""The network that predicts noise: a U-Net of diffusers, for grids of any side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import UNet2DModel
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class Backbone(nn.Module):
    """Predicts the noise in noisy points from their times and, if it has classes, their labels.

    diffusers' U-Net halves the grid at each level, so a grid whose sides cannot be halved so often
    is padded with zeros, and the prediction cropped: 7 x 7 becomes 8 x 8.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        blocks: int,
        attention_levels: int,
        head_channels: int,
        classes: int | None = None,
    ) -> None:
        """channels: of a point. widths: of the levels, outermost first. blocks: residual blocks a
        level. attention_levels: how many of the innermost levels have attention. classes: the
        number of labels; label `classes` means "none". None for a model without classes.
        """
        super().__init__()
        self.classes = classes
        self.multiple = 2 ** (len(widths) - 1)
        plain = max(0, len(widths) - attention_levels)
        down = ["DownBlock2D" if i < plain else "AttnDownBlock2D" for i in range(len(widths))]
        up = [name.replace("Down", "Up") for name in reversed(down)]
        self.network = UNet2DModel(
            in_channels=channels,
            out_channels=channels,
            layers_per_block=blocks,
            block_out_channels=tuple(widths),
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            attention_head_dim=head_channels,
            norm_num_groups=min(32, *(width // 4 for width in widths)),
            num_class_embeds=None if classes is None else classes + 1,
        )

    def forward(
        self,
        points: Float[Tensor, "b d h w"],
        times: Int[Tensor, " b"],
        labels: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b d h w"]:
        """The predicted noise. labels: in [0, classes], where `classes` means "none".

        Raises ValueError if a model without classes gets labels or one with classes gets none, and
        on a processor IndexError for a label out of range.
        """
        if (labels is None) != (self.classes is None):
            raise ValueError("labels: needed by a model with classes, and refused by one without")
        height, width = points.shape[2:]
        right, below = -width % self.multiple, -height % self.multiple
        padded = F.pad(points, (0, right, 0, below))
        predicted = self.network(padded, times, class_labels=labels)  # type: ignore[operator]
        return predicted.sample[..., :height, :width]


def with_guidance(
    backbone: nn.Module,
    points: Float[Tensor, "b d h w"],
    times: Int[Tensor, " b"],
    labels: Int[Tensor, " b"] | None,
    guidance: float,
) -> Float[Tensor, "b d h w"]:
    """Classifier-free guidance (Ho and Salimans 2021): e(none) + s (e(label) - e(none)).

    guidance: s. With s = 1 this is e(label), and the network runs once instead of twice.
    """
    if labels is None or guidance == 1:
        return backbone(points, times, labels)
    none = torch.full_like(labels, backbone.classes)  # type: ignore[arg-type]
    both = backbone(points.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([labels, none]))
    conditional, unconditional = both.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
