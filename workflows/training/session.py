"""The files of a training in its cell's folder: states, progress, log, model and record."""

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
from workflows.files import digest, hold_lock, write_json, write_text
from workflows.training import devices, loop, processes
from workflows.training.loop import History, Observers, Record
from workflows.training.tensor_files import CheckpointError, read_tensors, save_tensors


@dataclass(frozen=True)
class Outcome:
    """How a training ended. status: "finished" or "diverged". message: why it diverged."""

    status: str
    message: str
    history: History

    @property
    def steps(self) -> int:
        """The number of steps in the history, which holds whole epochs."""
        return int(self.history[-1]["step"]) if self.history else 0


@dataclass(frozen=True)
class Session:
    """One training and its cell's folder, `out`.

    source: the digests of the training data; a state of another spec or source is ignored. shape:
    (n, c, h, w) of the training data. Of several processes only the main process writes and prints.
    """

    spec: Spec
    out: Path
    learner: loop.Learner
    source: Mapping[str, Any]
    shape: tuple[int, ...]

    @property
    def epoch_steps(self) -> int:
        """The number of steps in one epoch."""
        return loop.steps_per_epoch(self.shape[0], self.spec.knobs.batch_size)

    def run(self, train: Callable[[History, Observers], None]) -> Outcome:
        """Call `train`, which goes on after an interruption, and save a state after each epoch.

        If the training diverges, load its last whole epoch again. Raises CheckpointError for a
        state that cannot be used, ConfigError if the training would take too much.
        """
        self._refuse_too_much()
        state = self.out / "state" / "last.safetensors"
        identity = json.dumps([self._training_spec(), self.source], sort_keys=True)
        history = resume(state, identity, self.learner.unpack)
        start = dict(history[-1]) if history else {"step": 0, "seconds": 0.0}

        def after_epoch(history: History) -> None:
            if processes.is_main():
                metadata = {"identity": identity, "history": json.dumps(history)}
                save_tensors(state, self.learner.pack(), metadata)

        def after_record(record: Record) -> None:
            if processes.is_main():
                self._report(record, start)

        try:
            train(history, Observers(after_record, after_epoch))
        except loop.Diverged as error:
            # A training that diverged in its first epoch has not written the state that is there.
            if history:
                self.learner.unpack(read_tensors(state)[0])
            kept = "its last whole epoch is kept" if history else "no epoch of it is whole"
            processes.say(f"[{self.spec.cell}] {error}; {kept}")
            return Outcome("diverged", str(error), history)
        return Outcome("finished", "", history)

    def write(self, outcome: Outcome, columns: list[str], fields: Mapping[str, Any]) -> None:
        """Write log.csv with these columns, model.safetensors and, last, train.json.

        fields: of train.json that this kind of training adds.
        """
        write_text(self.out / "log.csv", _csv(outcome.history, columns))
        cell = {"cell": self.spec.cell}
        save_tensors(self.out / "model.safetensors", self.learner.model.state_dict(), cell)
        record = {
            "status": outcome.status,
            "message": outcome.message,
            **self._training_spec(),
            "epochs": loop.epochs_done(outcome.history, self.epoch_steps),
            "images": self.shape[0],
            "steps": outcome.steps,
            "planned_steps": self.epoch_steps * self.spec.knobs.epochs,
            "seconds": outcome.history[-1]["seconds"] if outcome.history else 0.0,
            **origin(devices.name(self.learner.device), torch.get_num_threads()),
            "processes": processes.count(),
            "log_sha256": digest(self.out / "log.csv"),
            "model_sha256": digest(self.out / "model.safetensors"),
            "parameters": sum(p.numel() for p in self.learner.model.parameters()),
            **fields,
        }
        write(self.out / "train.json", TrainRecord.model_validate(record))

    def _refuse_too_much(self) -> None:
        """Print what the training will take. Raises ConfigError for too much memory or time."""
        knobs, device = self.spec.knobs, self.learner.device
        work = cost.Training(knobs, self.shape[-1], self.shape[0], processes.count())
        estimate = cost.estimate(work, device.type, cost.read_records())
        processes.say(f"[{self.spec.cell}] {estimate}")
        lower = cost.LOWER.get(work.network, "network_channels or network_blocks")
        cost.refuse_too_much(estimate, devices.free_memory(device), f"batch_size, {lower}")

    def _report(self, record: Record, start: Record) -> None:
        """Write progress.json and print a line. start: the record that this process began from."""
        epochs = self.spec.knobs.epochs
        pace = (record["seconds"] - start["seconds"]) / (record["step"] - start["step"])
        left = pace * (self.epoch_steps * epochs - record["step"])
        progress = {**record, "epochs": epochs, "seconds_left": left}
        write_json(self.out / "state" / "progress.json", progress)
        # The loss includes the quantiser's terms, which rise while the reconstruction improves.
        line = f"loss {record['loss']:.4g}  "
        if "reconstruction" in record:
            line += f"reconstruction {record['reconstruction']:.4g}  "
        if "usage" in record:
            line += f"usage {record['usage']:.1%}  "
        print(
            f"[{self.spec.cell}] epoch {record['epoch']:.3g}/{epochs}  "
            f"{line}{record['images_per_second']:,.0f} images/s  "
            f"{int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )

    def _training_spec(self) -> dict[str, Any]:
        """Return the part of the spec that the trained weights depend on."""
        sampling = set(getattr(self.spec.knobs, "SAMPLING", ()))
        exclude: Any = {"filmed": True, "progress_samples": True, "knobs": sampling}
        return self.spec.model_dump(exclude=exclude)


def resume(state: Path, identity: str, unpack: Callable[[Mapping[str, Tensor]], None]) -> History:
    """Give the tensors of an interrupted training to `unpack`, and return its history.

    identity: names settings, data and versions. A state of another identity is ignored, and the
    history is then empty. Raises CheckpointError for a state that is damaged or that `unpack`
    cannot use.
    """
    if not state.exists():
        return []
    try:
        tensors, metadata = read_tensors(state)
        if metadata["identity"] != identity:
            processes.say(f"{state}: of other settings, data or versions; starting anew")
            return []
        unpack(tensors)
    except Exception as error:
        raise CheckpointError(
            f"{state}: no training can go on from this file ({error}); delete it to start anew"
        ) from error
    return json.loads(metadata["history"])


def _csv(history: History, columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


@contextmanager
def locked_cell(out: Path, threads: int) -> Iterator[None]:
    """Set up torch, hold the lock of a cell's folder, and explain a lack of memory."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    lock = hold_lock(out / "state" / "lock") if processes.is_main() else nullcontext()
    with lock, devices.memory_explained(out):
        yield
