"""Training images on the device, or beside it where they do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from workflows.data.memory import SHARE, gather
from workflows.training.devices import free_memory


@dataclass(frozen=True)
class Streamed:
    """uint8 images (n, c, h, w) in main memory or in a file; rows are read when asked for.

    A tensor of row numbers indexes it, as it would index a tensor on the processor.
    """

    images: np.ndarray
    device: ClassVar[torch.device] = torch.device("cpu")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """These rows, in this order."""
        return torch.from_numpy(gather(self.images, rows.numpy()))


def on_device(images: np.ndarray, device: torch.device) -> Tensor | Streamed:
    """uint8 images (n, c, h, w) as a tensor on `device`, so that training copies nothing to it.

    Memory-mapped images are streamed instead, and so are images that would take more than a SHARE
    of the memory that is free on a GPU.
    """
    if isinstance(images, np.memmap):
        return Streamed(images)
    if device.type != "cpu" and images.nbytes > SHARE * free_memory(device):
        return Streamed(images)
    return torch.from_numpy(images).to(device)
