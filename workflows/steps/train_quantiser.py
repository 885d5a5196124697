"""Train one quantiser on frozen latents: `python -m workflows.steps.train_quantiser --help`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from workflows.config import cli
from workflows.config.plan import Spec
from workflows.data.cache import load_train
from workflows.data.memory import hold
from workflows.files import digest
from workflows.knobs import Frozen, Training
from workflows.registry import code_dim, refuse_edited_plugin
from workflows.training import devices, processes
from workflows.training.frozen import build_learner, train
from workflows.training.loop import steps_per_epoch
from workflows.training.session import Session, locked_cell
from workflows.training.spaces import load_trained, read_latents
from workflows.training.stage1 import LOG_COLUMNS, WATCHED
from workflows.training.tensor_files import CheckpointError


def run(spec: Spec, data: Path, out: Path, stage1: Path, latents: Path) -> None:
    """Train, or go on from `out`/state, and write model.safetensors, log.csv and train.json.

    stage1, latents: the folder and the latents of the autoencoder whose encoder and decoder the
    written model has. Raises CheckpointError for latents of another autoencoder or of another D.
    """
    knobs = spec.knobs
    assert isinstance(knobs, Training), "the rule hands on cells of stage 1"
    assert isinstance(knobs, Frozen), "the rule hands on cells with frozen networks"
    refuse_edited_plugin(knobs, spec.versions)
    device = devices.prepare(knobs.precision)
    loaded = load_train(data)
    source = {
        "dataset": loaded.record.train.sha256,
        "model": digest(stage1 / "model.safetensors"),
    }
    encoded = read_latents(latents, {"cell": knobs.first_stage, **source})
    trained_on = replace(encoded, points=hold(encoded.points[: knobs.train_images]))
    count, dim, *_ = trained_on.points.shape
    if dim != code_dim(knobs):
        raise CheckpointError(f"{latents}: latents of {dim} dimensions, not {code_dim(knobs)}")
    steps = knobs.epochs * steps_per_epoch(count, knobs.batch_size)
    autoencoder = load_trained(stage1)
    learner = build_learner(knobs, autoencoder, steps, device)
    validation = np.array(loaded.validation[:WATCHED])
    session = Session(spec, out, learner, source, (count, *loaded.train.shape[1:]))
    outcome = session.run(
        lambda history, observers: train(learner, trained_on, validation, knobs, history, observers)
    )
    record_fields = {
        "channels": autoencoder.record.channels,
        "dataset_sha256": source["dataset"],
        "first_stage": source["model"],
    }
    session.write(outcome, LOG_COLUMNS, record_fields)


def main(
    spec: Spec, data: Path, out: Path, stage1: Path, latents: Path, threads: int, processes_: int
) -> None:
    """Train in this process. Raises ConfigError for several, which would have no work to share."""
    processes.start(processes_, 1, "workflows.steps.train_quantiser")
    with locked_cell(out, threads):
        run(spec, data, out, stage1, latents)


if __name__ == "__main__":
    parser = cli.training_parser("train_quantiser", __doc__ or "")
    parser.add_argument("--stage1", type=Path, required=True, help="folder of the autoencoder")
    parser.add_argument("--latents", type=Path, required=True, help="of its encoder")
    cli.run(parser, main)
