"""Train one generative model: `python -m workflows.steps.train_generator --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from workflows.config import cli
from workflows.config.plan import Spec
from workflows.data.cache import TrainData, load_labels, load_train
from workflows.data.memory import hold
from workflows.data.metric_networks import read_frozen
from workflows.data.weight_sources import digests_of
from workflows.errors import ConfigError
from workflows.generators import (
    GENERATORS,
    build_critic,
    build_generator,
    build_generator_optimiser,
)
from workflows.knobs import Generative
from workflows.training import devices, processes
from workflows.training.session import Session, locked_cell
from workflows.training.spaces import read_latents, space_of
from workflows.training.stage2 import LOG_COLUMNS, Learner, Points, train
from workflows.training.tensor_files import save_tensors


def run(
    spec: Spec,
    data: Path,
    out: Path,
    stage1: Path | None = None,
    latents: Path | None = None,
) -> None:
    """Train, or go on from `out`/state; write model.safetensors, progress.safetensors, log.csv and
    train.json. The written model is the averaged one.

    data: folder of the prepared dataset. stage1, latents: folder of the first stage and the file of
    its latents or codes; None for pixels.
    """
    knobs, progress_samples = spec.knobs, spec.progress_samples
    assert isinstance(knobs, Generative), "the rule of stage 2 hands on cells of stage 2"
    assert progress_samples is not None, "the plan says how many samples a training keeps"
    device = devices.prepare(knobs.precision)
    points, source = load_points(knobs, data, load_train(data), latents)
    shape = points.points.shape
    space = space_of(knobs, stage1, latents)
    weights, features = read_frozen_of(knobs)
    critic = build_critic(knobs, tuple(shape[1:]), weights)
    learner = build_learner(knobs, points, space, critic, progress_samples, device)
    processes.divide([learner.model], [], learner.model)
    identity = {**source, "progress_samples": progress_samples}
    session = Session(spec, out, learner, identity, shape)
    outcome = session.run(
        lambda history, observers: train(learner, points, knobs, history, observers)
    )
    if not processes.is_main():
        return
    learner.ema.copy_to(learner.model.parameters())
    kept = {f"{epoch:06d}": samples for epoch, samples in learner.kept.items()}
    save_tensors(out / "progress.safetensors", kept, {"cell": spec.cell})
    record_fields = {
        "classes": points.classes,
        "shape": list(shape[1:]),
        "first_stage": source["model"],
        "progress_samples": progress_samples,
        "features": features,
        "labels_sha256": source["labels"],
        "dataset_sha256": source["dataset"],
    }
    session.write(outcome, LOG_COLUMNS, record_fields)


def read_frozen_of(knobs: Generative) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the weights of the network through which a method's critic sees images, and the
    digest of their file by the network's name in results.

    Both are empty if the method has no such network. Raises DataError.
    """
    name = GENERATORS[knobs.method].frozen
    return ({}, {}) if name is None else (read_frozen(name), digests_of(name))


def build_learner(
    knobs: Generative,
    points: Points,
    space: Any,
    critic: Any,
    samples: int,
    device: torch.device,
) -> Learner:
    """Build the network of a cell and all that trains it, on `device`.

    critic, samples: see Learner.
    """
    shape = tuple(points.points.shape[1:])
    model = build_generator(knobs, shape, points.classes, space).to(device)
    # The average starts at once and slows down: (1 + t) / (10 + t), up to the knob.
    average = EMAModel(model.parameters(), knobs.ema_decay)
    optimiser = build_generator_optimiser(knobs, model)
    return Learner(model, optimiser, average, critic and critic.to(device), samples)


def load_points(
    knobs: Generative, data: Path, loaded: TrainData, latents: Path | None
) -> tuple[Points, dict[str, str]]:
    """Return the points to model, and the digests of "dataset", first stage ("model") and "labels".

    Raises CheckpointError for latents of another dataset or first stage, DataError for a dataset
    without the labels that a conditional model needs, ConfigError for a method of latents or codes
    without their file.
    """
    record, used = loaded.record, slice(knobs.train_images)
    source = {"dataset": record.train.sha256, "model": "", "labels": ""}
    labels = None
    if knobs.conditional:
        labels = load_labels(data)[: len(loaded.train)][used]
        source["labels"] = record.labels.sha256 if record.labels is not None else ""
    if not GENERATORS[knobs.method].has_first_stage:
        return Points(hold(loaded.train[used]), labels, record.classes), source
    if latents is None:
        raise ConfigError("--latents: needed by a model of latents or codes")
    expected = {"dataset": record.train.sha256, "cell": str(knobs.first_stage)}
    encoded = read_latents(latents, expected)
    points = Points(hold(encoded.points[used]), labels, record.classes)
    return points, {**source, "model": encoded.model}


def main(
    spec: Spec,
    data: Path,
    out: Path,
    stage1: Path | None,
    latents: Path | None,
    threads: int,
    processes_: int,
) -> None:
    """Train in this process, or in several processes that share each batch."""
    # A critic compares the points of a whole batch.
    has_critic = GENERATORS[spec.knobs.method].critic is not None
    most = 1 if has_critic else spec.knobs.batch_size
    processes.start(processes_, most, "workflows.steps.train_generator")
    with locked_cell(out, threads):
        run(spec, data, out, stage1, latents)


if __name__ == "__main__":
    parser = cli.training_parser("train_generator", __doc__ or "")
    parser.add_argument("--stage1", type=Path, help="folder of the first stage; none for pixels")
    parser.add_argument("--latents", type=Path, help="its latents or codes; none for pixels")
    cli.run(parser, main)
