"""What a training of either stage keeps in its cell's folder: states, progress and its record."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workflows.config import cost
from workflows.config.plan import Spec
from workflows.config.provenance import origin
from workflows.config.records import TrainRecord, write
from workflows.files import claim, digest, write_json, write_text
from workflows.training import devices, processes
from workflows.training.loop import (
    Diverged,
    History,
    Learner,
    Observers,
    Record,
    epochs_done,
    steps_per_epoch,
)
from workflows.training.tensor_files import CheckpointError, read_tensors, save_tensors


@dataclass(frozen=True)
class Outcome:
    """How a training ended. status: finished or diverged. message: why it diverged."""

    status: str
    message: str
    history: History

    @property
    def steps(self) -> int:
        """How many of its steps count."""
        return int(self.history[-1]["step"]) if self.history else 0


@dataclass(frozen=True)
class Session:
    """One training.

    out: the cell's folder. source: digests of what is trained on; a state of another spec or source
    is ignored. shape: (n, c, h, w) of what is trained on. Of several processes only the main one
    writes and prints.
    """

    spec: Spec
    out: Path
    learner: Learner
    source: Mapping[str, Any]
    shape: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(self.shape[0], self.spec.knobs.batch_size)

    def run(self, train: Callable[[History, Observers], None]) -> Outcome:
        """Run `train` from where an interrupted run ended, saving a state after each epoch.

        Where the training diverges, its last whole epoch is loaded again. Raises CheckpointError
        for a state that cannot be used, ConfigError if the training would take too much.
        """
        self._refuse_too_much()
        state = self.out / "state" / "last.safetensors"
        identity = json.dumps([self._told(), self.source], sort_keys=True)
        history = resume(state, identity, self.learner.unpack)
        resumed = dict(history[-1]) if history else {"step": 0, "seconds": 0.0}

        def after_epoch(history: History) -> None:
            if processes.is_main():
                metadata = {"identity": identity, "history": json.dumps(history)}
                save_tensors(state, self.learner.pack(), metadata)

        def after_record(record: Record) -> None:
            if processes.is_main():
                self._report(record, resumed)

        try:
            train(history, Observers(after_record, after_epoch))
        except Diverged as error:
            # Without a whole epoch, a state that lies here is that of another training.
            if history:
                self.learner.unpack(read_tensors(state)[0])
            kept = "its last whole epoch is kept" if history else "no epoch of it is whole"
            processes.say(f"[{self.spec.cell}] {error}; {kept}")
            return Outcome("diverged", str(error), history)
        return Outcome("finished", "", history)

    def _refuse_too_much(self) -> None:
        """Print what this training will take. Raises ConfigError if that is too much."""
        knobs, device = self.spec.knobs, self.learner.device
        work = cost.Training(knobs, self.shape[-1], self.shape[0], processes.count())
        step = cost.estimate(work, device.type, cost.read_records())
        processes.say(f"[{self.spec.cell}] {step}")
        lower = cost.LOWER.get(work.network, "network_channels or network_blocks")
        cost.refuse_too_much(step, devices.free_memory(device), f"batch_size, {lower}")

    def _report(self, record: Record, resumed: Record) -> None:
        """Write progress.json and print a line. resumed: the record that this run began from."""
        epochs = self.spec.knobs.epochs
        pace = (record["seconds"] - resumed["seconds"]) / (record["step"] - resumed["step"])
        left = pace * (self.steps * epochs - record["step"])
        progress = {**record, "epochs": epochs, "seconds_left": left}
        write_json(self.out / "state" / "progress.json", progress)
        # The loss also has the quantiser's terms, which rise while reconstruction gets better.
        shown = f"loss {record['loss']:.4g}  "
        if "reconstruction" in record:
            shown += f"reconstruction {record['reconstruction']:.4g}  "
        if "usage" in record:
            shown += f"usage {record['usage']:.1%}  "
        print(
            f"[{self.spec.cell}] epoch {record['epoch']:.3g}/{epochs}  "
            f"{shown}{record['images_per_second']:,.0f} images/s  "
            f"{int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )

    def write(self, outcome: Outcome, columns: list[str], about: Mapping[str, Any]) -> None:
        """Write model.safetensors, log.csv and, last of all, train.json.

        columns: of the log. about: what train.json says beside what all trainings say.
        """
        write_text(self.out / "log.csv", log_text(outcome.history, columns))
        cell = {"cell": self.spec.cell}
        save_tensors(self.out / "model.safetensors", self.learner.model.state_dict(), cell)
        record = {
            "status": outcome.status,
            "message": outcome.message,
            **self._told(),
            "epochs": epochs_done(outcome.history, self.steps),
            "images": self.shape[0],
            "steps": outcome.steps,
            "planned_steps": self.steps * self.spec.knobs.epochs,
            "seconds": outcome.history[-1]["seconds"] if outcome.history else 0.0,
            **origin(devices.name(self.learner.device), torch.get_num_threads()),
            "processes": processes.count(),
            "log_sha256": digest(self.out / "log.csv"),
            "model_sha256": digest(self.out / "model.safetensors"),
            "parameters": sum(p.numel() for p in self.learner.model.parameters()),
            **about,
        }
        write(self.out / "train.json", TrainRecord.model_validate(record))

    def _told(self) -> dict[str, Any]:
        """The part of the spec that decides what is trained: not how the model is sampled later."""
        knobs = self.spec.knobs
        of_training = knobs.model_dump(exclude={*getattr(knobs, "SAMPLING", ())})
        told = self.spec.model_dump(include={"budget", "cell", "versions"})
        return {**told, "knobs": of_training}


def resume(
    state: Path, identity: str, unpack: Callable[[Mapping[str, Tensor]], None]
) -> list[dict[str, float]]:
    """Give the tensors of an interrupted training to `unpack` and return its history.

    identity: of settings, data and versions; the state of another run is ignored, and the history
    is then empty. Raises CheckpointError for a state that is damaged or that `unpack` cannot use.
    """
    if not state.exists():
        return []
    try:
        tensors, metadata = read_tensors(state)
        if metadata["identity"] != identity:
            print(f"{state}: of other settings, data or versions; starting anew", flush=True)
            return []
        unpack(tensors)
    except Exception as error:
        raise CheckpointError(
            f"{state}: no training can go on from this file ({error}); delete it to start anew"
        ) from error
    return json.loads(metadata["history"])


def log_text(history: History, columns: list[str]) -> str:
    """The records of a history as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


@contextmanager
def begun(out: Path, threads: int) -> Iterator[None]:
    """Hold the lock of a cell's folder while it is trained, and explain a lack of memory."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    lock = claim(out / "state" / "lock") if processes.is_main() else nullcontext()
    with lock, devices.memory_explained(out):
        yield
