"""Train one diffusion model: `python -m workflows.steps.train_diffusion --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel

from workflows import cost, devices, processes
from workflows.checkpoint import (
    CheckpointError,
    load_state,
    pack_training,
    resume,
    save_state,
    save_tensors,
    unpack_training,
)
from workflows.data import SMALL, DataError, hold, load_labels, load_train, verify
from workflows.devices import first_process
from workflows.diffusion_training import LOG_COLUMNS, Learner, Observers, Points, train
from workflows.files import claim, digest, write_json, write_text
from workflows.provenance import origin
from workflows.registry import build_backbone
from workflows.schema import ConfigError, validate
from workflows.spaces import read_latents
from workflows.training import Diverged, steps_per_epoch

EMA, KEPT = "ema.", "kept."


def run(
    spec: dict[str, Any],
    data: Path,
    out: Path,
    threads: int,
    latents: Path | None = None,
    versions: Mapping[str, int] | None = None,
    progress_samples: int = 2,
) -> None:
    """Train, or go on from `out`/state; write model.safetensors, progress.safetensors, log.csv and
    train.json.

    The model is the averaged one. The state stays until samples are made, see the train step.
    latents: what `workflows.steps.latents` wrote for the first stage, None for pixels. versions:
    of what trains; a state that other versions left is not gone on from.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    knobs = spec["knobs"]
    device = processes.device()
    devices.set_precision(knobs["precision"], device)
    # accelerate would take the first GPU of each process, not the one that was leased.
    os.environ.setdefault("ACCELERATE_TORCH_DEVICE", str(device))
    mixed = "bf16" if knobs["precision"] == "bf16" else "no"
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
    verify(data, ("train",), SMALL)
    record = load_train(data).record
    points, source = load_points(knobs, data, latents)
    classes = record.get("classes")
    backbone = build_backbone(knobs, points.points.shape[1], classes).to(device)
    optimiser = torch.optim.AdamW(backbone.parameters(), knobs["learning_rate"])
    # The average starts at once and slows down: (1 + t) / (10 + t), up to the knob.
    learner = Learner(backbone, optimiser, EMAModel(backbone.parameters(), knobs["ema_decay"]))

    state = out / "state" / "last.safetensors"
    identity = json.dumps([spec, source, versions, progress_samples], sort_keys=True)
    history = resume(state, identity, lambda packed: unpack(packed, learner))

    def after_epoch(history: list[dict[str, float]]) -> None:
        if accelerator.is_main_process:
            metadata = {"identity": identity, "history": json.dumps(history)}
            save_state(state, pack(learner), metadata)

    steps = steps_per_epoch(len(points.points), knobs["batch_size"])
    planned = steps * knobs["epochs"]
    resumed = dict(history[-1]) if history else {"step": 0, "seconds": 0.0}

    def say(line: str) -> None:
        if accelerator.is_main_process:
            print(f"[{spec['cell']}] {line}", flush=True)

    work = cost.Training(
        knobs,
        points.points.shape[-1],
        len(points.points),
        progress_samples,
        sum(p.numel() for p in backbone.parameters()),
        accelerator.num_processes,
    )
    cost.before_training(
        cost.estimate(spec["cell"], work, device.type, cost.read_records()),
        optimiser,
        planned - int(resumed["step"]),
        "batch_size, unet_channels or unet_multipliers",
        say,
    )

    def after_record(found: dict[str, float]) -> None:
        if not accelerator.is_main_process:
            return
        pace = (found["seconds"] - resumed["seconds"]) / (found["step"] - resumed["step"])
        left = pace * (planned - found["step"])
        shown = {**found, "epochs": knobs["epochs"], "seconds_left": left}
        write_json(out / "state" / "progress.json", shown)
        print(_progress(spec["cell"], found, knobs["epochs"], left), flush=True)

    status, message = "finished", ""
    try:
        train(
            learner,
            points,
            knobs,
            classes,
            progress_samples,
            history,
            Observers(after_record, after_epoch),
            accelerator,
        )
    except Diverged as error:
        status, message = "diverged", str(error)
        which = f"its last whole epoch is kept in {state}" if history else "no epoch of it is whole"
        print(f"[{spec['cell']}] {message}; {which}", flush=True)
        # Before its first epoch is whole, a state is none of this training's.
        if history and (whole := load_state(state)) is not None:
            unpack(whole[0], learner)
    if not accelerator.is_main_process:
        return
    learner.ema.copy_to(backbone.parameters())
    write_text(out / "log.csv", pd.DataFrame(history, columns=LOG_COLUMNS).to_csv(index=False))
    save_tensors(out / "model.safetensors", backbone.state_dict(), {"cell": spec["cell"]})
    kept = {f"{epoch:06d}": samples for epoch, samples in learner.kept.items()}
    save_tensors(out / "progress.safetensors", kept, {"cell": spec["cell"]})
    write_json(
        out / "train.json",
        {
            "status": status,
            "message": message,
            **spec,
            "classes": classes,
            "shape": list(points.points.shape[1:]),
            "first_stage": source["model"],
            "progress_samples": progress_samples,
            "labels_sha256": source["labels"],
            "epochs": int(history[-1]["step"]) // steps if history else 0,
            "images": len(points.points),
            "steps": int(history[-1]["step"]) if history else 0,
            "planned_steps": planned,
            "seconds": history[-1]["seconds"] if history else 0.0,
            **origin(devices.name(device), threads),
            "processes": accelerator.num_processes,
            "versions": dict(versions or {}),
            "dataset_sha256": record["train"]["sha256"],
            "log_sha256": digest(out / "log.csv"),
            "model_sha256": digest(out / "model.safetensors"),
            "parameters": sum(p.numel() for p in backbone.parameters()),
        },
    )


def load_points(
    knobs: dict[str, Any], data: Path, latents: Path | None
) -> tuple[Points, dict[str, str]]:
    """What is diffused, and the digests of what it is made of.

    Raises CheckpointError for latents of another dataset or first stage, DataError for a dataset
    without the labels that a conditional model needs, ConfigError for no latents.
    """
    loaded = load_train(data)
    sha256 = loaded.record["train"]["sha256"]
    wanted = slice(knobs["train_images"])
    labels = load_labels(data)[: len(loaded.train)][wanted] if knobs["conditional"] else None
    source = {"dataset": sha256, "model": "", "labels": ""}
    if labels is not None:
        source["labels"] = loaded.record["labels"]["sha256"]
    if knobs["method"] == "ddpm":
        return Points(hold(loaded.train[wanted]), labels), source
    if latents is None:
        raise ConfigError("--latents: needed by a model of latents")
    about = {"dataset": sha256, "cell": knobs["first_stage"]}
    found = read_latents(latents, about)
    if len(found.points) != len(loaded.train):
        raise CheckpointError(
            f"{latents}: {len(found.points)} latents, must be {len(loaded.train)}, one an image"
        )
    return Points(hold(found.points[wanted]), labels), {**source, "model": found.model}


def pack(learner: Learner) -> dict[str, torch.Tensor]:
    """All of it as named tensors."""
    average = learner.ema.state_dict()
    packed = pack_training(learner.backbone, learner.optimiser)
    packed |= {f"{EMA}{i}": value for i, value in enumerate(average["shadow_params"])}
    packed[f"{EMA}step"] = torch.tensor(average["optimization_step"])
    return packed | {f"{KEPT}{epoch}": samples for epoch, samples in learner.kept.items()}


def unpack(packed: Mapping[str, torch.Tensor], learner: Learner) -> None:
    """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
    own = {k: v for k, v in packed.items() if not k.startswith((EMA, KEPT))}
    unpack_training(own, learner.backbone, learner.optimiser)
    for index, shadow in enumerate(learner.ema.shadow_params):
        shadow.copy_(packed[f"{EMA}{index}"])
    learner.ema.optimization_step = int(packed[f"{EMA}step"])
    learner.kept = {
        int(name.removeprefix(KEPT)): value
        for name, value in packed.items()
        if name.startswith(KEPT)
    }


def _progress(cell: str, found: dict[str, float], epochs: int, left: float) -> str:
    return (
        f"[{cell}] epoch {found['epoch']:.3g}/{epochs}  loss {found['loss']:.4g}  "
        f"{found['images_per_second']:,.0f} images/s  {int(left // 60)}:{int(left % 60):02d} left"
    )


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON {budget, cell, knobs}")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--latents", type=Path, help="of the first stage; none for pixels")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--versions", default="{}", help="JSON: part of the training -> version")
    parser.add_argument("--progress-samples", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="that share each batch")
    arguments = parser.parse_args()
    try:
        spec = json.loads(arguments.spec)
        validate(spec, "spec", "--spec")
        validate(spec["knobs"], "generation_cell", "--spec: knobs")
        batch_size = spec["knobs"]["batch_size"]
        processes.ensure(
            arguments.processes, batch_size, "workflows.steps.train_diffusion", arguments.threads
        )
        with claim(arguments.out / "state" / "lock") if first_process() else nullcontext():
            run(
                spec,
                arguments.data,
                arguments.out,
                arguments.threads,
                arguments.latents,
                json.loads(arguments.versions),
                arguments.progress_samples,
            )
    except (CheckpointError, ConfigError, DataError, OSError, json.JSONDecodeError) as error:
        print(f"train_diffusion: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        message = devices.out_of_memory(error)
        print(f"train_diffusion: {arguments.out}: {message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
