"""Training images on the device, or near it where they do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from workflows.data.memory import SHARE, gather, memory_of


@dataclass(frozen=True)
class Streamed:
    """uint8 (n, c, h, w) in main memory or in a file, of which rows are read as they are asked for.

    It is indexed as a tensor of the processor is, by a tensor of rows, and gives the same numbers.
    """

    images: np.ndarray
    device: ClassVar[torch.device] = torch.device("cpu")

    def __len__(self) -> int:
        """How many images."""
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Those rows, in that order."""
        return torch.from_numpy(gather(self.images, rows.numpy()))


def on_device(images: np.ndarray, device: torch.device) -> Tensor | Streamed:
    """uint8 images (n, c, h, w), whole on `device`, so that nothing is copied while it trains.

    Those of a memory-mapped file, and on a GPU those that would take more than a share of what is
    free there, are streamed.
    """
    if isinstance(images, np.memmap):
        return Streamed(images)
    if device.type != "cpu" and images.nbytes > SHARE * memory_of(device):
        return Streamed(images)
    return torch.from_numpy(images).to(device)
