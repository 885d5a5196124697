"""Train one generative model: `python -m workflows.steps.train_generator --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from workflows.config import cli
from workflows.config.plan import Spec
from workflows.data.cache import SMALL, TrainData, load_labels, load_train, verify
from workflows.data.memory import hold
from workflows.data.metric_networks import read_frozen
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
    progress_samples: int = 2,
) -> None:
    """Train, or go on from `out`/state; write model.safetensors, progress.safetensors, log.csv and
    train.json.

    data: folder of the prepared dataset. stage1, latents: folder of the first stage and the file of
    its latents or codes; None for pixels.
    progress_samples: how many samples are kept at each moment of the training. The model that is
    written is the averaged one.
    """
    knobs = spec.knobs
    assert isinstance(knobs, Generative), "the rule of stage 2 hands on cells of stage 2"
    device = devices.prepare(knobs.precision)
    verify(data, ("train",), SMALL)
    points, source = load_points(knobs, data, load_train(data), latents)
    space = space_of(knobs, stage1, latents)
    weights, features = read_frozen_of(knobs)
    critic = build_critic(knobs, tuple(points.points.shape[1:]), weights)
    learner = build_learner(knobs, points, space, critic, progress_samples, device)
    processes.divide([learner.model], [], learner.model)
    told = {**source, "progress_samples": progress_samples}
    session = Session(spec, out, learner, told, points.points.shape)
    outcome = session.run(
        lambda history, observers: train(learner, points, knobs, history, observers)
    )
    if not processes.is_main():
        return
    learner.ema.copy_to(learner.model.parameters())
    kept = {f"{epoch:06d}": samples for epoch, samples in learner.kept.items()}
    save_tensors(out / "progress.safetensors", kept, {"cell": spec.cell})
    about = {
        "classes": points.classes,
        "shape": list(points.points.shape[1:]),
        "first_stage": source["model"],
        "progress_samples": progress_samples,
        "features": features,
        "labels_sha256": source["labels"],
        "dataset_sha256": source["dataset"],
    }
    session.write(outcome, LOG_COLUMNS, about)


def read_frozen_of(knobs: Generative) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights of the network that a method's critic sees images through, and their digest by
    the network's name in results; both empty for a method without one. Raises DataError.
    """
    name = GENERATORS[knobs.method].frozen
    return ({}, {}) if name is None else read_frozen(name)


def build_learner(
    knobs: Generative,
    points: Points,
    space: Any,
    critic: Any,
    samples: int,
    device: torch.device,
) -> Learner:
    """The network of a cell and all that trains it, on `device`. critic, samples: see Learner."""
    shape = tuple(points.points.shape[1:])
    model = build_generator(knobs, shape, points.classes, space).to(device)
    # The average starts at once and slows down: (1 + t) / (10 + t), up to the knob.
    average = EMAModel(model.parameters(), knobs.ema_decay)
    optimiser = build_generator_optimiser(knobs, model)
    return Learner(model, optimiser, average, critic and critic.to(device), samples)


def load_points(
    knobs: Generative, data: Path, loaded: TrainData, latents: Path | None
) -> tuple[Points, dict[str, str]]:
    """What is modelled, and the digests of dataset, first stage ("model") and labels.

    Raises CheckpointError for latents of another dataset or first stage, DataError for a dataset
    without the labels that a conditional model needs, ConfigError for no latents.
    """
    sha256, classes = loaded.record.train.sha256, loaded.record.classes
    wanted = slice(knobs.train_images)
    labels = load_labels(data)[: len(loaded.train)][wanted] if knobs.conditional else None
    source = {"dataset": sha256, "model": "", "labels": ""}
    if labels is not None and loaded.record.labels is not None:
        source["labels"] = loaded.record.labels.sha256
    if not GENERATORS[knobs.method].has_first_stage:
        return Points(hold(loaded.train[wanted]), labels, classes), source
    if latents is None:
        raise ConfigError("--latents: needed by a model of latents or codes")
    about = {"dataset": sha256, "cell": str(knobs.first_stage)}
    found = read_latents(latents, about)
    return Points(hold(found.points[wanted]), labels, classes), {**source, "model": found.model}


def main(
    spec: Spec,
    data: Path,
    out: Path,
    stage1: Path | None,
    latents: Path | None,
    progress_samples: int,
    threads: int,
    processes_: int,
) -> None:
    """Train in this process, or in several that share each batch."""
    # A critic compares the points of a whole batch.
    shared = GENERATORS[spec.knobs.method].critic is None
    most = spec.knobs.batch_size if shared else 1
    processes.start(processes_, most, "workflows.steps.train_generator")
    with locked_cell(out, threads):
        run(spec, data, out, stage1, latents, progress_samples)


if __name__ == "__main__":
    parser = cli.training_parser("train_generator", __doc__ or "")
    parser.add_argument("--stage1", type=Path, help="folder of the first stage; none for pixels")
    parser.add_argument("--latents", type=Path, help="its latents or codes; none for pixels")
    parser.add_argument("--progress-samples", type=int, default=2)
    cli.run(parser, main)
