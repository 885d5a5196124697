"""The training of a quantiser alone, on the latents of an autoencoder that stays as it is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from workflows.knobs import Training
from workflows.metrics.usage import perplexity, usage
from workflows.registry import build_autoencoder, build_optimiser, codebook_size, loss_weights
from workflows.training.loop import (
    History,
    Observers,
    Record,
    record_marks,
    steps_per_epoch,
    train_batches,
    train_epochs,
)
from workflows.training.spaces import Latents, Trained
from workflows.training.stage1 import Learner, Losses, batches, count_codes, on_device


def build_learner(
    knobs: Training, first_stage: Trained, steps: int, device: torch.device
) -> Learner:
    """A new quantiser between the encoder and the decoder of a first stage, on `device`.

    steps: of the training.
    """
    channels = first_stage.record.channels
    model = build_autoencoder(knobs, channels, steps)
    for part in ("encoder", "decoder"):
        trained = first_stage.model.get_submodule(part).state_dict()
        model.get_submodule(part).requires_grad_(False).load_state_dict(trained)
    model = model.to(device).to(memory_format=torch.channels_last)
    losses = Losses(F.mse_loss, loss_weights(knobs, 1))
    return Learner(model, build_optimiser(knobs, model), losses)


def train_step(learner: Learner, latents: Tensor) -> Tensor:
    """Train on latents (b, d, h, w); returns the loss and the mean squared error, (2,).

    A method that learns by averages alone has a loss without a gradient.
    """
    quantiser, losses = learner.model.get_submodule("quantiser"), learner.losses
    found = quantiser(latents)
    loss = sum(losses.weights[name] * value for name, value in found.losses.items())
    error = losses.objective(found.vectors.detach(), latents)
    learner.optimiser.zero_grad(set_to_none=True)
    if loss.requires_grad:
        loss.backward()
    quantiser.adapt(found.assignment)  # type: ignore[operator]
    learner.optimiser.step()
    return torch.stack([loss.detach(), error])


def train(
    learner: Learner,
    latents: Latents,
    validation: np.ndarray,
    knobs: Training,
    history: History,
    observers: Observers,
) -> None:
    """Train from where `history` ends to the last epoch, see `train_epochs`.

    A record's reconstruction is the mean squared error of latents. validation: uint8 images, over
    whose latents usage and perplexity are counted.
    """
    points = on_device(latents.points, learner.device)
    steps = steps_per_epoch(len(points), knobs.batch_size)
    size = codebook_size(knobs) or 1

    def step(number: int, batch: Tensor) -> Tensor:
        # Files hold latents of unit variance, and the networks' own are not.
        return train_step(learner, batch.to(learner.device) / latents.scale)

    def look() -> Record:
        counts = count_codes(learner.model, validation, size)
        return {"usage": usage(counts), "perplexity": perplexity(counts)}

    def train_epoch(epoch: int):
        ordered = batches(points, knobs.batch_size, knobs.seed, epoch)
        marks = record_marks(steps, knobs.epochs)
        return train_batches(ordered, step, ["loss", "reconstruction"], marks)

    train_epochs(train_epoch, len(points), knobs, history, observers, look)
