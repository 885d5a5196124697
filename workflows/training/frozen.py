"""The training of a quantiser alone, on the latents of an autoencoder that does not change."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from workflows.knobs import Training
from workflows.registry import build_autoencoder, build_optimiser, loss_weights
from workflows.training import stage1
from workflows.training.loop import History, Observers
from workflows.training.spaces import Latents, Trained
from workflows.training.stage1 import Learner, Losses, Splits


def build_learner(
    knobs: Training, first_stage: Trained, steps: int, device: torch.device
) -> Learner:
    """Return a new quantiser between the encoder and the decoder of a first stage, on `device`.

    steps: of the whole training.
    """
    model = build_autoencoder(knobs, first_stage.record.channels, steps)
    for name in ("encoder", "decoder"):
        weights = first_stage.model.get_submodule(name).state_dict()
        model.get_submodule(name).requires_grad_(False).load_state_dict(weights)
    model = model.to(device).to(memory_format=torch.channels_last)
    losses = Losses(F.mse_loss, loss_weights(knobs, 1))
    return Learner(model, build_optimiser(knobs, model), losses)


def train(
    learner: Learner,
    latents: Latents,
    validation: np.ndarray,
    knobs: Training,
    history: History,
    observers: Observers,
) -> None:
    """Train from the end of `history` to the last epoch, see `train_epochs`.

    validation: uint8 images (n, c, h, w), whose latents usage and perplexity are counted over. The
    reconstruction of a record is the mean squared error of latents.
    """

    def step(learner: Learner, batch: Tensor, _: Training) -> Tensor:
        # The file holds latents of unit variance; the networks need latents of the original scale.
        return train_step(learner, batch.to(learner.device) / latents.scale)

    splits = Splits(latents.points, validation)
    stage1.train(learner, splits, knobs, history, observers, step)


def train_step(learner: Learner, latents: Tensor) -> Tensor:
    """Train on latents (b, d, h, w). Returns the loss and the mean squared error, (2,)."""
    quantiser, losses = learner.model.get_submodule("quantiser"), learner.losses
    output = quantiser(latents)
    error = losses.objective(output.vectors.detach(), latents)
    weighted_losses = (losses.weights[name] * value for name, value in output.losses.items())
    loss = sum(weighted_losses, torch.zeros_like(error))
    learner.optimiser.zero_grad(set_to_none=True)
    # The loss of a method that learns by averages alone has no gradient, if it has a loss at all.
    if loss.requires_grad:
        loss.backward()
    quantiser.adapt(output.assignment)  # type: ignore[operator]
    learner.optimiser.step()
    return torch.stack([loss.detach(), error])
