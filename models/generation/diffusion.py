"""Diffusion models (Ho et al. 2020) of pixels and latents, with the U-Net of diffusers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation.interface import (
    Labels,
    Points,
    Scalar,
    Shape,
    Streams,
    check_labels,
    draw_each,
)

# Maps points, times and labels to the noise in the points.
Predict = Callable[[Tensor, Tensor, Tensor | None], Tensor]
QUICK_STEPS = 20


@dataclass(frozen=True)
class Process:
    """The noising of points in training, and the denoising of samples.

    noise_steps: T. schedule, start, end: the betas, in diffusers' terms. loss: l1 or l2.
    label_dropout: the probability that training hides a class. clip: whether the sampler clips to
    [-1, 1], the range of pixels, at each step. sampling_steps, eta: of DDIM. guidance: s of
    `with_guidance`.
    """

    noise_steps: int
    schedule: str
    start: float
    end: float
    loss: str
    label_dropout: float
    clip: bool
    sampling_steps: int
    eta: float
    guidance: float

    @property
    def betas(self) -> dict[str, Any]:
        """The settings of the betas that diffusers' schedulers take."""
        return {
            "num_train_timesteps": self.noise_steps,
            "beta_schedule": self.schedule,
            "beta_start": self.start,
            "beta_end": self.end,
        }

    def noising(self) -> Any:
        """Return diffusers' DDPMScheduler, which adds noise in training."""
        return DDPMScheduler(**self.betas)

    def denoising(self) -> Any:
        """Return diffusers' DDIM sampler (Song et al. 2021).

        As in the published implementation the sampler visits every T / steps-th time, from 1.
        """
        sampler: Any = DDIMScheduler(
            **self.betas,
            clip_sample=self.clip,
            set_alpha_to_one=False,
            steps_offset=1 if self.sampling_steps < self.noise_steps else 0,
        )
        sampler.set_timesteps(self.sampling_steps)
        return sampler


class DiffusionModel(nn.Module):
    """Predicts the noise in noisy points from their times and, if there are classes, their labels.

    diffusers' U-Net halves the grid at each level. A grid whose sides cannot be halved that often
    is padded with zeros, for example from 7 x 7 to 8 x 8, and the prediction is cropped.
    """

    def __init__(
        self,
        process: Process,
        channels: int,
        widths: Sequence[int],
        blocks: int,
        attention_levels: int,
        head_channels: int,
        classes: int | None = None,
    ) -> None:
        """channels: of a point. widths: channels of the levels, outermost first. blocks: residual
        blocks of a level. attention_levels: the number of innermost levels with attention. classes:
        the number of labels, or None; the label `classes` means "no class".
        """
        super().__init__()
        self.process = process
        self.noising = process.noising()
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
        points: Points,
        times: Int[Tensor, " b"],
        labels: Labels = None,
    ) -> Points:
        """Return the predicted noise. labels: in [0, classes], where `classes` means "no class".

        Raises ValueError as `check_labels` does, and on a processor IndexError for a label out of
        range.
        """
        check_labels(labels, self.classes)
        height, width = points.shape[2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(points, padding)
        predicted = self.network(padded, times, class_labels=labels)  # type: ignore[operator]
        return predicted.sample[..., :height, :width]

    def loss(self, points: Points, labels: Labels, stream: torch.Generator) -> Scalar:
        """Return the distance of predicted and true noise (eq. 14 of Ho et al.)."""
        check_labels(labels, self.classes)
        noise = torch.randn(points.shape, generator=stream).to(points.device)
        times = torch.randint(0, self.process.noise_steps, (len(points),), generator=stream)
        hidden = torch.rand(len(points), generator=stream) < self.process.label_dropout
        times = times.to(points.device)
        if labels is not None:
            labels = labels.masked_fill(hidden.to(labels.device), self.classes)  # type: ignore[arg-type]
        noisy = self.noising.add_noise(points, noise, times)
        distance = {"l1": F.l1_loss, "l2": F.mse_loss}[self.process.loss]
        return distance(self(noisy, times, labels).float(), noise)

    def sample(self, shape: Shape, labels: Labels, streams: Streams, quick: bool = False) -> Points:
        """Return points by DDIM, with guidance.

        quick: takes fewer steps, draws no noise between them, and guides nothing.
        """
        process = self.process
        if quick:
            steps = min(QUICK_STEPS, process.noise_steps)
            process = replace(process, sampling_steps=steps, eta=0.0, guidance=1.0)
        points = draw_each(shape, streams).to(next(self.parameters()).device)
        return denoised(self, self.classes, process, points, labels, streams)


def denoised(
    predict: Predict,
    classes: int | None,
    process: Process,
    points: Points,
    labels: Labels,
    streams: Streams,
) -> Points:
    """Denoise points of pure noise step by step."""
    sampler = process.denoising()
    for time in sampler.timesteps:
        times = time.to(points.device).expand(len(points))
        noise = with_guidance(predict, classes, points, times, labels, process.guidance)
        points = sampler.step(
            noise, int(time), points, eta=process.eta, generator=list(streams)
        ).prev_sample
    return points


def with_guidance(
    predict: Predict,
    classes: int | None,
    points: Points,
    times: Int[Tensor, " b"],
    labels: Labels,
    guidance: float,
) -> Points:
    """Predict noise with classifier-free guidance (Ho and Salimans 2021).

    The noise is e(none) + s (e(label) - e(none)), where s is `guidance` and the label `classes`
    means "none". At s = 1 this is e(label), and the network runs once instead of twice.
    """
    if labels is None or guidance == 1:
        return predict(points, times, labels)
    assert classes is not None
    none = torch.full_like(labels, classes)
    both = predict(points.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([labels, none]))
    conditional, unconditional = both.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
