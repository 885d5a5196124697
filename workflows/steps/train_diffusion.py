"""Train one diffusion model: `python -m workflows.steps.train_diffusion --help`."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.training_utils import EMAModel

from workflows.config import cli
from workflows.config.plan import Spec
from workflows.data.cache import SMALL, TrainData, load_labels, load_train, verify
from workflows.data.memory import hold
from workflows.errors import ConfigError
from workflows.knobs import Diffusion
from workflows.registry import DIFFUSIONS, build_backbone
from workflows.training import devices, processes
from workflows.training.session import Session, begun
from workflows.training.spaces import read_latents
from workflows.training.stage2 import LOG_COLUMNS, Learner, Points, train
from workflows.training.tensor_files import save_tensors


def run(spec: Spec, data: Path, out: Path, latents: Path | None, progress_samples: int = 2) -> None:
    """Train, or go on from `out`/state; write model.safetensors, progress.safetensors, log.csv and
    train.json.

    data: folder of the prepared dataset. latents: file of the first stage's, None for pixels.
    progress_samples: how many samples are kept at each moment of the training. The model that is
    written is the averaged one.
    """
    knobs = spec.knobs
    assert isinstance(knobs, Diffusion), "the rule of stage 2 hands on cells of stage 2"
    device = devices.prepare(knobs.precision)
    verify(data, ("train",), SMALL)
    points, source = load_points(knobs, data, load_train(data), latents)
    learner = build_learner(knobs, points, progress_samples, device)
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
        "labels_sha256": source["labels"],
        "dataset_sha256": source["dataset"],
    }
    session.write(outcome, LOG_COLUMNS, about)


def build_learner(knobs: Diffusion, points: Points, samples: int, device: torch.device) -> Learner:
    """The network of a cell and all that trains it, on `device`. samples: see Learner."""
    backbone = build_backbone(knobs, points.points.shape[1], points.classes).to(device)
    optimiser = torch.optim.AdamW(backbone.parameters(), knobs.learning_rate)
    # The average starts at once and slows down: (1 + t) / (10 + t), up to the knob.
    average = EMAModel(backbone.parameters(), knobs.ema_decay)
    return Learner(backbone, optimiser, average, samples)


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
    return Points(hold(found.points[wanted]), labels, classes), {**source, "model": found.model}


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
    with begun(out, threads):
        run(spec, data, out, latents, progress_samples)


if __name__ == "__main__":
    parser = cli.training_parser("train_diffusion", __doc__ or "")
    parser.add_argument("--latents", type=Path, help="of the first stage; none for pixels")
    parser.add_argument("--progress-samples", type=int, default=2)
    cli.run(parser, main)
