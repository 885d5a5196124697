"""A distribution of codes that is known, and how far samples are from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.streams import Purpose, generator

CODES, CLASSES, GRIDS = 4, 2, 16


def grids(labels: Tensor, stream: torch.Generator, groups: int = 1) -> Tensor:
    """Grids (n, groups, 2, 2): a b / b (a + label), where a and b are uniform; a second group has
    b and a in each other's places. Given the label, a row or a column determines the grid, and a
    single place does not.
    """
    a, b = torch.randint(0, CODES, (2, len(labels)), generator=stream)
    one, other = [a, b, b, (a + labels) % CODES], [b, a, a, b]
    return torch.stack([*one, *other][: 4 * groups], 1).reshape(-1, groups, 2, 2).float()


def trained(model: Any, groups: int, steps: int, rate: float = 0.005) -> None:
    """Train a model on such grids."""
    optimiser = torch.optim.AdamW(model.parameters(), rate)
    model.train()
    for step in range(steps):
        stream = generator(5, Purpose.GENERATION, step)
        labels = torch.randint(0, CLASSES, (64,), generator=stream)
        points = grids(labels, stream, groups)
        optimiser.zero_grad(set_to_none=True)
        model.loss(points, labels, stream).backward()
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimiser.step()
    model.eval()


@torch.inference_mode()
def variation(model: Any, groups: int, label: int, count: int = 512) -> float:
    """The total variation distance of the samples' frequencies from the distribution: the sum of
    what its sixteen grids lack of a sixteenth. Of as many true samples it is about 0.07.
    """
    streams = [generator(6, Purpose.SAMPLE, number) for number in range(count)]
    labels = torch.full((count,), label)
    samples = model.sample((groups, 2, 2), labels, streams).flatten(1)
    true = grids(torch.full((2048,), label), generator(7, Purpose.SAMPLE), groups).flatten(1)
    every = true.unique(dim=0)
    assert len(every) == GRIDS
    frequencies = (samples.unsqueeze(1) == every).all(-1).float().mean(0)
    return float((1 / GRIDS - frequencies).clamp(min=0).sum())
