"""Small generative models of the registry: their settings, critics and random streams."""

from __future__ import annotations

from typing import Any

import torch

from models.streams import Purpose, generator
from tests.knobs import DIFFUSION, typed
from workflows.generators import build_critic
from workflows.steps.train_generator import read_frozen_of


def knobs_of(method: str, **changes: Any) -> Any:
    return typed({**DIFFUSION, "method": method, **changes})


def critic_of(knobs: Any, shape: tuple[int, ...]) -> Any:
    return build_critic(knobs, shape, read_frozen_of(knobs)[0])


def stream(step: int = 0) -> torch.Generator:
    return generator(2, Purpose.SAMPLE, step)
