"""Train one diffusion model: `python -m workflows.steps.train_diffusion --help`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel

from workflows import cli, cost
from workflows.config.plan import Spec
from workflows.data import SMALL, TrainData, hold, load_labels, load_train, verify
from workflows.errors import ConfigError
from workflows.knobs import Diffusion
from workflows.registry import DIFFUSIONS, build_backbone
from workflows.training import devices, processes
from workflows.training.checkpoint import pack_training, unpack_training, with_prefix
from workflows.training.session import Session, claimed
from workflows.training.spaces import read_latents
from workflows.training.stage1 import steps_per_epoch
from workflows.training.stage2 import LOG_COLUMNS, Learner, Points, train
from workflows.training.tensor_files import CheckpointError, save_tensors

# Of the names in a state.
EMA, KEPT = "ema.", "kept."


def run(spec: Spec, data: Path, out: Path, latents: Path | None, progress_samples: int = 2) -> None:
    """Train, or go on from `out`/state; write model.safetensors, progress.safetensors, log.csv and
    train.json.

    data: folder of the prepared dataset. latents: what `workflows.steps.latents` wrote for the
    first stage, None for pixels. progress_samples: how many samples are kept at each moment of the
    training. The model that is written is the averaged one. The state stays until samples are made,
    as in the train step.
    """
    knobs = spec.knobs
    assert isinstance(knobs, Diffusion), "the rule of stage 2 hands on cells of stage 2"
    device = devices.prepare(knobs.precision)
    verify(data, ("train",), SMALL)
    loaded = load_train(data)
    points, source = load_points(knobs, data, loaded, latents)
    learner = build_learner(knobs, points, progress_samples, device)
    refuse_too_much(learner, points, spec)
    processes.divide([learner.backbone], [], learner.backbone)
    session = Session(
        spec,
        out,
        {**source, "progress_samples": progress_samples},
        len(points.points),
        steps_per_epoch(len(points.points), knobs.batch_size),
        lambda step: pack(learner),
        lambda packed: unpack(packed, learner),
    )
    outcome = session.run(
        lambda history, observers: train(learner, points, knobs, history, observers)
    )
    if not processes.is_main():
        return
    learner.ema.copy_to(learner.backbone.parameters())
    kept = {f"{epoch:06d}": samples for epoch, samples in learner.kept.items()}
    save_tensors(out / "progress.safetensors", kept, {"cell": spec.cell})
    about = {
        "classes": points.classes,
        "shape": list(points.points.shape[1:]),
        "first_stage": source["model"],
        "progress_samples": progress_samples,
        "labels_sha256": source["labels"],
        "dataset_sha256": source["dataset"],
    }
    session.write(outcome, learner.backbone, LOG_COLUMNS, about)


def build_learner(knobs: Diffusion, points: Points, samples: int, device: torch.device) -> Learner:
    """The network of a cell and all that trains it, on `device`. samples: see Learner."""
    backbone = build_backbone(knobs, points.points.shape[1], points.classes).to(device)
    optimiser = torch.optim.AdamW(backbone.parameters(), knobs.learning_rate)
    # The average starts at once and slows down: (1 + t) / (10 + t), up to the knob.
    average = EMAModel(backbone.parameters(), knobs.ema_decay)
    return Learner(backbone, optimiser, average, samples)


def refuse_too_much(learner: Learner, points: Points, spec: Spec) -> None:
    """Print what this training will take. Raises ConfigError if that is too much."""
    knobs, count = spec.knobs, len(points.points)
    work = cost.Training(
        knobs,
        points.points.shape[-1],
        count,
        learner.samples,
        sum(p.numel() for p in learner.backbone.parameters()),
        processes.count(),
    )
    device = next(learner.backbone.parameters()).device
    cost.before_training(
        cost.estimate(spec.cell, work, device.type, cost.read_records()),
        learner.optimiser,
        knobs.epochs * steps_per_epoch(count, knobs.batch_size),
        "batch_size, unet_channels or unet_multipliers",
        lambda line: processes.say(f"[{spec.cell}] {line}"),
    )


def load_points(
    knobs: Diffusion, data: Path, loaded: TrainData, latents: Path | None
) -> tuple[Points, dict[str, str]]:
    """What is diffused, and the digests of dataset, first stage ("model") and labels.

    Raises CheckpointError for latents of another dataset or first stage, DataError for a dataset
    without the labels that a conditional model needs, ConfigError for no latents.
    """
    sha256, classes = loaded.record.train.sha256, loaded.record.classes
    wanted = slice(knobs.train_images)
    labels = load_labels(data)[: len(loaded.train)][wanted] if knobs.conditional else None
    source = {"dataset": sha256, "model": "", "labels": ""}
    if labels is not None and loaded.record.labels is not None:
        source["labels"] = loaded.record.labels.sha256
    if not DIFFUSIONS[knobs.method].latent:
        return Points(hold(loaded.train[wanted]), labels, classes), source
    if latents is None:
        raise ConfigError("--latents: needed by a model of latents")
    about = {"dataset": sha256, "cell": str(knobs.first_stage)}
    found = read_latents(latents, about)
    if len(found.points) != len(loaded.train):
        raise CheckpointError(
            f"{latents}: {len(found.points)} latents, must be {len(loaded.train)}, one an image"
        )
    return Points(hold(found.points[wanted]), labels, classes), {**source, "model": found.model}


def pack(learner: Learner) -> dict[str, torch.Tensor]:
    """All that training changes, as named tensors."""
    average = learner.ema.state_dict()
    packed = pack_training(learner.backbone, learner.optimiser)
    packed |= {f"{EMA}{i}": value for i, value in enumerate(average["shadow_params"])}
    packed[f"{EMA}step"] = torch.tensor(average["optimization_step"])
    return packed | {f"{KEPT}{epoch}": samples for epoch, samples in learner.kept.items()}


def unpack(packed: Mapping[str, torch.Tensor], learner: Learner) -> None:
    """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
    unpack_training(packed, learner.backbone, learner.optimiser)
    for index, shadow in enumerate(learner.ema.shadow_params):
        shadow.copy_(packed[f"{EMA}{index}"])
    learner.ema.optimization_step = int(packed[f"{EMA}step"])
    learner.kept = {int(epoch): value for epoch, value in with_prefix(packed, KEPT).items()}


def main(
    spec: Spec,
    data: Path,
    out: Path,
    latents: Path | None,
    progress_samples: int,
    threads: int,
    processes_: int,
) -> None:
    """Train in this process, or in several that share each batch."""
    processes.start(processes_, spec.knobs.batch_size, "workflows.steps.train_diffusion")
    torch.set_num_threads(threads)
    with claimed(out), devices.memory_explained(out):
        run(spec, data, out, latents, progress_samples)


if __name__ == "__main__":
    parser = cli.training_parser("train_diffusion", __doc__ or "")
    parser.add_argument("--latents", type=Path, help="of the first stage; none for pixels")
    parser.add_argument("--progress-samples", type=int, default=2)
    cli.run(parser, main)
