"""Train one autoencoder: `python -m workflows.steps.train --help`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from workflows.config import cli
from workflows.config.plan import Spec
from workflows.data.cache import load_train
from workflows.data.memory import hold
from workflows.data.metric_networks import read_lpips
from workflows.data.records import DatasetRecord
from workflows.data.weight_sources import digests_of
from workflows.knobs import Training, Vqgan
from workflows.registry import (
    build_adversary,
    build_autoencoder,
    build_objective,
    build_optimiser,
    loss_weights,
    refuse_edited_plugin,
)
from workflows.training import devices, processes
from workflows.training.film import Film, moments
from workflows.training.loop import steps_per_epoch
from workflows.training.session import Session, locked_cell
from workflows.training.stage1 import LOG_COLUMNS, WATCHED, Learner, Losses, Splits, train
from workflows.training.tensor_files import save_tensors


def run(spec: Spec, data: Path, out: Path) -> None:
    """Train, or go on from `out`/state; write model.safetensors, log.csv and train.json, and
    film.safetensors of a filmed cell.

    data: folder of the prepared dataset. The state stays until the cell is evaluated, because
    Snakemake removes the outputs of a run that was killed.
    """
    knobs = spec.knobs
    assert isinstance(knobs, Training), "the rule of stage 1 hands on cells of stage 1"
    refuse_edited_plugin(knobs, spec.versions)
    device = devices.prepare(knobs.precision)
    loaded = load_train(data)
    # Held in memory unless there are too many, because epochs visit the images in random order.
    trained_on = hold(loaded.train[: knobs.train_images])
    splits = Splits(trained_on, np.array(loaded.validation[:WATCHED]))
    perceptual, features = read_perceptual(knobs)
    steps = knobs.epochs * steps_per_epoch(len(trained_on), knobs.batch_size)
    film = Film(splits.validation, moments(steps)) if spec.filmed else None
    learner = build_learner(knobs, loaded.record, steps, perceptual, device, film)
    if perceptual is not None:
        share_work(learner)
    source = {"dataset": loaded.record.train.sha256, "filmed": spec.filmed}
    session = Session(spec, out, learner, source, trained_on.shape)
    outcome = session.run(
        lambda history, observers: train(learner, splits, knobs, history, observers)
    )
    if not processes.is_main():
        return
    if film:
        # Of a training that diverged, only whole epochs are shown.
        film.cut(outcome.steps)
        save_tensors(out / "film.safetensors", film.pack(), {"cell": spec.cell})
    record_fields = {
        "channels": loaded.record.channels,
        "dataset_sha256": loaded.record.train.sha256,
        "features": features,
    }
    session.write(outcome, LOG_COLUMNS, record_fields)


def share_work(learner: Learner) -> None:
    """Divide each batch between the processes of a training.

    Encoder, decoder and perceptual distance see a part of the batch, quantiser and critic all of
    it.
    """
    parts = [learner.model.get_submodule(name) for name in ("encoder", "decoder")]
    whole = [learner.model.get_submodule("quantiser"), learner.losses.adversary]
    processes.divide([*parts, learner.losses.perceptual], whole, learner.model)


def read_perceptual(knobs: Training) -> tuple[nn.Module | None, dict[str, str]]:
    """Return VQGAN's perceptual distance, and the digest of its file by its name in results.

    Returns (None, {}) for another network. Raises DataError.
    """
    if not isinstance(knobs, Vqgan):
        return None, {}
    # This import takes half a second, which the small networks need not wait for.
    from workflows.metrics.perceptual import load_perceptual

    backbone = knobs.perceptual_network
    return load_perceptual(backbone, read_lpips(backbone)), digests_of(f"lpips_{backbone}")


def build_learner(
    knobs: Training,
    record: DatasetRecord,
    steps: int,
    perceptual: nn.Module | None,
    device: torch.device,
    film: Film | None,
) -> Learner:
    """Build the model of a cell and all that trains it, on `device`.

    record: of the dataset. steps: of the training. perceptual: VQGAN's perceptual distance.
    """
    channels = record.channels
    model = build_autoencoder(knobs, channels, steps)
    model = model.to(device).to(memory_format=torch.channels_last)
    if perceptual is not None:
        perceptual.to(device)
    adversary = build_adversary(knobs, channels)
    losses = Losses(
        build_objective(knobs, record.variance, perceptual),
        loss_weights(knobs, channels * record.image_size**2),
        adversary.to(device) if adversary is not None else None,
        perceptual,
    )
    return Learner(model, build_optimiser(knobs, model), losses, film)


def main(spec: Spec, data: Path, out: Path, threads: int, processes_: int) -> None:
    """Train in this process, or in several processes that share each batch of a VQGAN."""
    most = spec.knobs.batch_size if isinstance(spec.knobs, Vqgan) else 1
    processes.start(processes_, most, "workflows.steps.train")
    with locked_cell(out, threads):
        run(spec, data, out)


if __name__ == "__main__":
    cli.run(cli.training_parser("train", __doc__ or ""), main)
