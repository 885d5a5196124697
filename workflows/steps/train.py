"""Train one autoencoder: `python -m workflows.steps.train --help`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflows import cli, cost
from workflows.config.plan import Spec
from workflows.data import SMALL, TrainData, hold, load_train, verify
from workflows.data.metric_networks import Network, read_network
from workflows.data.records import DatasetRecord
from workflows.errors import ConfigError
from workflows.knobs import Training
from workflows.registry import (
    build_adversary,
    build_autoencoder,
    build_objective,
    build_optimiser,
    loss_weights,
)
from workflows.training import devices, processes
from workflows.training.checkpoint import pack_training, unpack_training
from workflows.training.film import Film, moments
from workflows.training.session import Session, claimed
from workflows.training.stage1 import (
    LOG_COLUMNS,
    WATCHED,
    Images,
    Learner,
    Losses,
    steps_per_epoch,
    train,
)
from workflows.training.tensor_files import save_tensors

# Of the names in a state.
CRITIC, FILM = "critic.", "film."


def run(spec: Spec, data: Path, out: Path, weights: Path | None = None) -> None:
    """Train, or go on from `out`/state, and write model.safetensors, log.csv and train.json.

    data: folder of the prepared dataset. weights: folder of the metric networks, one of which VQGAN
    trains with. A cell that is filmed also gets film.safetensors, which changes nothing else.

    The state stays until the cell is evaluated: whoever started this training may be killed before
    taking the outputs for good, and Snakemake would then remove the outputs.
    """
    knobs = spec.knobs
    assert isinstance(knobs, Training), "the rule of stage 1 hands on cells of stage 1"
    device = devices.prepare(knobs.precision)
    verify(data, ("train",), SMALL)
    loaded = load_train(data)
    images = images_of(loaded, knobs.train_images)
    steps = steps_per_epoch(len(images.train), knobs.batch_size)
    perceptual = read_perceptual(knobs, weights)
    learner = build_learner(knobs, loaded.record, steps, perceptual, device)
    shown = moments(steps * knobs.epochs) if spec.filmed else frozenset()
    film = Film(learner.model, images.validation, shown, device)
    if perceptual is not None:
        share_work(learner)
    refuse_too_much(learner, images, spec)
    sha256 = loaded.record.train.sha256
    session = Session(
        spec,
        out,
        {"dataset": sha256, "filmed": spec.filmed},
        len(images.train),
        steps,
        lambda step: pack(learner) | film.pack(step, FILM),
        lambda packed: unpack(packed, learner, film),
    )
    outcome = session.run(
        lambda history, observers: train(learner, images, knobs, history, observers),
        film.after_step,
    )
    if not processes.is_main():
        return
    if spec.filmed:
        frames = film.pack(int(outcome.history[-1]["step"]) if outcome.history else 0)
        save_tensors(out / "film.safetensors", frames, {"cell": spec.cell})
    about = {
        "channels": loaded.record.channels,
        "dataset_sha256": sha256,
        # Metric networks that were part of what was minimised.
        "features": {perceptual.features: perceptual.sha256} if perceptual else {},
    }
    session.write(outcome, learner.model, LOG_COLUMNS, about)


def images_of(loaded: TrainData, count: int | None) -> Images:
    """The first `count` training images, and the validation images that are watched.

    An epoch visits the images in random order, so they are held in memory unless they are too many.
    """
    validation = np.array(loaded.validation[:WATCHED])
    return Images(hold(loaded.train[:count]), validation, loaded.record.variance)


def build_learner(
    knobs: Any,
    record: DatasetRecord,
    steps: int,
    network: Network | None,
    device: torch.device,
) -> Learner:
    """The model of a cell and all that trains it, on `device`.

    record: of the dataset. steps: of an epoch. network: of VQGAN's perceptual distance.
    """
    channels = record.channels
    model = build_autoencoder(knobs, channels, steps * knobs.epochs)
    model = model.to(device).to(memory_format=torch.channels_last)
    perceptual = None
    if network is not None:
        # This import takes half a second, which the small networks need not wait for.
        from workflows.metrics.perceptual import load_perceptual

        perceptual = load_perceptual(knobs.perceptual_network, network.tensors).to(device)
    adversary = build_adversary(knobs, channels)
    losses = Losses(
        build_objective(knobs, record.variance, perceptual),
        loss_weights(knobs, channels * record.image_size**2),
        adversary.to(device) if adversary is not None else None,
        perceptual,
    )
    return Learner(model, build_optimiser(knobs, model), losses)


def read_perceptual(knobs: Any, weights: Path | None) -> Network | None:
    """The network of VQGAN's perceptual distance; None for a cell that trains with none.

    weights: folder of the metric networks. Raises ConfigError if there is none.
    """
    if knobs.network != "vqgan":
        return None
    if weights is None:
        raise ConfigError("--weights: needed by network vqgan, for its perceptual distance")
    return read_network(weights, f"lpips_{knobs.perceptual_network}")


def refuse_too_much(learner: Learner, images: Images, spec: Spec) -> None:
    """Print what this training will take. Raises ConfigError if that is too much."""
    knobs = spec.knobs
    count = sum(p.numel() for p in learner.model.parameters())
    work = cost.Training(
        knobs, images.train.shape[-1], len(images.train), 0, count, processes.count()
    )
    cost.before_training(
        cost.estimate(spec.cell, work, learner.device.type, cost.read_records()),
        learner.optimiser,
        knobs.epochs * steps_per_epoch(len(images.train), knobs.batch_size),
        "batch_size, network_channels or network_blocks",
        lambda line: processes.say(f"[{spec.cell}] {line}"),
    )


def share_work(learner: Learner) -> None:
    """Divide encoder, decoder and perceptual distance over the processes, if there are several."""
    model, losses = learner.model, learner.losses
    shared: list[Any] = [model.encoder, model.decoder, losses.perceptual]
    alike: list[Any] = [model.quantiser, losses.adversary]
    processes.divide(shared, alike, model)


def pack(learner: Learner) -> dict[str, torch.Tensor]:
    """All that training changes, as named tensors."""
    packed = pack_training(learner.model, learner.optimiser)
    critic = learner.losses.adversary
    return packed if critic is None else packed | pack_training(critic, critic.optimiser, CRITIC)


def unpack(packed: Mapping[str, torch.Tensor], learner: Learner, film: Film) -> None:
    """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
    unpack_training(packed, learner.model, learner.optimiser)
    film.unpack(packed, FILM)
    critic = learner.losses.adversary
    if critic is not None:
        unpack_training(packed, critic, critic.optimiser, CRITIC)


def main(
    spec: Spec, data: Path, out: Path, weights: Path | None, threads: int, processes_: int
) -> None:
    """Train in this process, or in several that share each batch of a VQGAN."""
    large = getattr(spec.knobs, "network", None) == "vqgan"
    most = spec.knobs.batch_size if large else 1
    processes.start(processes_, most, "workflows.steps.train")
    torch.set_num_threads(threads)
    with claimed(out), devices.memory_explained(out):
        run(spec, data, out, weights)


if __name__ == "__main__":
    parser = cli.training_parser("train", __doc__ or "")
    parser.add_argument("--weights", type=Path, help="folder of metric networks, for vqgan")
    cli.run(parser, main)
