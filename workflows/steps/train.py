"""Train one cell: `python -m workflows.steps.train --spec JSON --data FOLDER --out FOLDER`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

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
from workflows.data import SMALL, DataError, hold, load_train, verify
from workflows.devices import first_process
from workflows.files import claim, digest, write_json, write_text
from workflows.film import Film, moments
from workflows.metric_networks import Network, read_network
from workflows.provenance import origin
from workflows.registry import (
    build_adversary,
    build_autoencoder,
    build_objective,
    build_optimiser,
    loss_weights,
    network_of,
)
from workflows.schema import ConfigError, validate
from workflows.training import (
    LOG_COLUMNS,
    WATCHED,
    Diverged,
    Images,
    Losses,
    Observers,
    epochs_done,
    steps_per_epoch,
    train,
)

# Of the names in a state.
CRITIC, FILM = "critic.", "film."


def run(
    spec: dict[str, Any],
    data: Path,
    out: Path,
    threads: int,
    versions: Mapping[str, int] | None = None,
    filmed: bool = False,
    weights: Path | None = None,
) -> None:
    """Train, or go on from `out`/state, and write model.safetensors, log.csv and train.json.

    The state stays until the cell is evaluated: whoever started this may be killed, or find the
    clock set back, before it takes the outputs for good, and would remove them.

    versions: of what trains; a state that other versions left is not gone on from.
    filmed: also write film.safetensors, which changes nothing else. weights: folder of the metric
    networks, one of which VQGAN trains with.
    """
    knobs = spec["knobs"]
    device = processes.device()
    together = processes.join(device)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    devices.set_precision(knobs["precision"], device)
    verify(data, ("train",), SMALL)
    loaded = load_train(data)
    record = loaded.record
    # An epoch visits the images in random order: in memory, unless they are too many.
    images = Images(
        hold(loaded.train[: knobs["train_images"]]),
        np.array(loaded.validation[:WATCHED]),
        record["variance"],
    )
    steps = steps_per_epoch(len(images.train), knobs["batch_size"])
    planned = steps * knobs["epochs"]
    model = build_autoencoder(knobs, record["channels"], planned)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimiser = build_optimiser(knobs, model)
    perceptual = read_perceptual(knobs, weights)
    losses = build_losses(knobs, record, perceptual, device)
    critic = losses.adversary

    state = out / "state" / "last.safetensors"
    identity = json.dumps([spec, record["train"]["sha256"], versions, filmed], sort_keys=True)

    shown = moments(planned) if filmed else frozenset()
    film = Film(model, images.validation[:WATCHED], shown, device)

    def take(packed: Mapping[str, torch.Tensor]) -> None:
        unpack_training(packed, model, optimiser)
        film.unpack(packed, FILM)
        if critic is not None:
            unpack_training(packed, critic, critic.optimiser, CRITIC)

    history = resume(state, identity, take)

    def after_epoch(history: list[dict[str, float]]) -> None:
        if not together.main:
            return
        save_state(
            state,
            pack_training(model, optimiser)
            | (pack_training(critic, critic.optimiser, CRITIC) if critic is not None else {})
            | film.pack(int(history[-1]["step"]), FILM),
            {"identity": identity, "history": json.dumps(history)},
        )

    resumed = dict(history[-1]) if history else {"step": 0, "seconds": 0.0}

    def say(line: str) -> None:
        if together.main:
            print(f"[{spec['cell']}] {line}", flush=True)

    trained = sum(p.numel() for p in model.parameters())
    if critic is not None:
        trained += sum(p.numel() for p in critic.parameters())
    work = cost.Training(
        knobs,
        record["image_size"],
        len(images.train),
        parameters=trained,
        parts=together.count,
    )
    cost.before_training(
        cost.estimate(spec["cell"], work, device.type, cost.read_records()),
        optimiser,
        planned - int(resumed["step"]),
        "batch_size or the network's size",
        say,
    )

    def after_record(record: dict[str, float]) -> None:
        if not together.main:
            return
        pace = (record["seconds"] - resumed["seconds"]) / (record["step"] - resumed["step"])
        left = pace * (planned - record["step"])
        write_json(
            out / "state" / "progress.json",
            {**record, "epochs": knobs["epochs"], "seconds_left": left},
        )
        print(_progress(spec["cell"], record, knobs["epochs"], left), flush=True)

    status, message = "finished", ""
    try:
        observers = Observers(after_record, after_epoch, film.after_step)
        train(model, optimiser, images, losses, knobs, history, observers, device, together)
    except Diverged as error:
        status, message = "diverged", str(error)
        which = f"its last whole epoch is kept in {state}" if history else "no epoch of it is whole"
        print(f"[{spec['cell']}] {message}; {which}", flush=True)
        # Before its first epoch is whole, a state is none of this training's.
        if history and (whole := load_state(state)) is not None:
            unpack_training(whole[0], model, optimiser)
    if not together.main:
        return

    write_text(out / "log.csv", pd.DataFrame(history, columns=LOG_COLUMNS).to_csv(index=False))
    save_tensors(out / "model.safetensors", model.state_dict(), {"cell": spec["cell"]})
    steps_kept = int(history[-1]["step"]) if history else 0
    if filmed:
        save_tensors(out / "film.safetensors", film.pack(steps_kept), {"cell": spec["cell"]})
    write_json(
        out / "train.json",
        {
            "status": status,
            "message": message,
            **spec,
            "channels": record["channels"],
            "epochs": epochs_done(history, steps),
            "images": len(images.train),
            "steps": steps_kept,
            "planned_steps": planned,
            "seconds": history[-1]["seconds"] if history else 0.0,
            **origin(devices.name(device), threads),
            "processes": together.count,
            "versions": dict(versions or {}),
            # Metric networks that were part of what was minimised.
            "features": {perceptual.features: perceptual.sha256} if perceptual else {},
            "dataset_sha256": record["train"]["sha256"],
            "log_sha256": digest(out / "log.csv"),
            "model_sha256": digest(out / "model.safetensors"),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
    )


def read_perceptual(knobs: dict[str, Any], weights: Path | None) -> Network | None:
    """The network of VQGAN's perceptual distance; None for a cell that trains with none.

    weights: folder of the metric networks. Raises ConfigError if there is none.
    """
    if network_of(knobs) != "vqgan":
        return None
    if weights is None:
        raise ConfigError("--weights: needed by network vqgan, for its perceptual distance")
    return read_network(weights, f"lpips_{knobs['perceptual_network']}")


def build_losses(
    knobs: dict[str, Any], record: dict[str, Any], network: Network | None, device: torch.device
) -> Losses:
    """What the model of a cell is trained to minimise. record: of the dataset. network: of the
    perceptual distance, if it has one.
    """
    perceptual = None
    if network is not None:
        # Its package takes half a second to import, which the small networks need not wait for.
        from workflows.metrics.perceptual import load_perceptual

        perceptual = load_perceptual(knobs["perceptual_network"], network.tensors).to(device)
    values = record["channels"] * record["image_size"] ** 2
    adversary = build_adversary(knobs, record["channels"])
    return Losses(
        build_objective(knobs, record["variance"], perceptual),
        loss_weights(knobs, values),
        adversary.to(device) if adversary is not None else None,
    )


def _progress(cell: str, record: dict[str, float], epochs: int, left: float) -> str:
    return (
        f"[{cell}] epoch {record['epoch']:.3g}/{epochs}  loss {record['loss']:.4g}  "
        f"usage {record['usage']:.1%}  {record['images_per_second']:,.0f} images/s  "
        f"{int(left // 60)}:{int(left % 60):02d} left"
    )


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON: budget, cell and knobs")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--versions", default="{}", help="JSON: part of the training -> version")
    parser.add_argument("--weights", type=Path, help="folder of metric networks, for vqgan")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="that share each batch")
    parser.add_argument("--film", action="store_true", help="write film.safetensors, too")
    arguments = parser.parse_args()
    try:
        spec = json.loads(arguments.spec)
        validate(spec, "spec", "--spec")
        validate(spec["knobs"], "cell", "--spec: knobs")
        batch_size = spec["knobs"]["batch_size"]
        processes.ensure(
            arguments.processes, batch_size, "workflows.steps.train", arguments.threads
        )
        with claim(arguments.out / "state" / "lock") if first_process() else nullcontext():
            run(
                spec,
                arguments.data,
                arguments.out,
                arguments.threads,
                json.loads(arguments.versions),
                arguments.film,
                arguments.weights,
            )
    except (CheckpointError, ConfigError, DataError, OSError, json.JSONDecodeError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        message = devices.out_of_memory(error)
        print(f"train: {arguments.out}: {message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
