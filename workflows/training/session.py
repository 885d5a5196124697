"""What a training of either stage keeps in its cell's folder: states, progress and its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workflows.config.plan import Spec
from workflows.config.provenance import origin
from workflows.config.records import TrainRecord, write
from workflows.files import claim, digest, write_json, write_text
from workflows.knobs import Sampling
from workflows.training import devices, processes
from workflows.training.checkpoint import load_state, resume, save_state
from workflows.training.stage1 import Diverged, Observers, epochs_done, log_text
from workflows.training.tensor_files import save_tensors

History = list[dict[str, float]]


@dataclass(frozen=True)
class Outcome:
    """How a training ended. status: finished or diverged. message: why it diverged."""

    status: str
    message: str
    history: History


@dataclass(frozen=True)
class Session:
    """One training.

    spec: which cell, and its knobs. out: the cell's folder. source: digests of what is trained on;
    a state of another spec or source is ignored. images: trained on. steps: of an epoch. pack:
    gives the tensors that the training can go on from after so many steps. unpack: loads them. Of
    several processes only the main one writes and prints.
    """

    spec: Spec
    out: Path
    source: Mapping[str, Any]
    images: int
    steps: int
    pack: Callable[[int], dict[str, Tensor]]
    unpack: Callable[[Mapping[str, Tensor]], None]

    def run(
        self,
        train: Callable[[History, Observers], None],
        after_step: Callable[[int], None] = lambda _: None,
    ) -> Outcome:
        """Run `train` from where an interrupted run ended, saving a state after each epoch.

        Where the training diverges, its last whole epoch is loaded again. after_step: see
        Observers. Raises CheckpointError if there are states and none can be used.
        """
        state = self.out / "state" / "last.safetensors"
        identity = json.dumps([self._told(), self.source], sort_keys=True)
        history = resume(state, identity, self.unpack)
        resumed = dict(history[-1]) if history else {"step": 0, "seconds": 0.0}

        def after_epoch(history: History) -> None:
            if processes.is_main():
                metadata = {"identity": identity, "history": json.dumps(history)}
                save_state(state, self.pack(int(history[-1]["step"])), metadata)

        def after_record(record: dict[str, float]) -> None:
            if processes.is_main():
                self._report(record, resumed)

        try:
            train(history, Observers(after_record, after_epoch, after_step))
        except Diverged as error:
            # Without a whole epoch, a state that lies here is that of another training.
            kept = load_state(state) if history else None
            if kept is not None:
                self.unpack(kept[0])
            which = f"its last whole epoch is kept in {state}"
            if kept is None:
                which = "no epoch of it is whole"
            processes.say(f"[{self.spec.cell}] {error}; {which}")
            return Outcome("diverged", str(error), history)
        return Outcome("finished", "", history)

    def _report(self, record: dict[str, float], resumed: Mapping[str, float]) -> None:
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
        if record.get("usage") is not None:
            shown += f"usage {record['usage']:.1%}  "
        print(
            f"[{self.spec.cell}] epoch {record['epoch']:.3g}/{epochs}  "
            f"{shown}{record['images_per_second']:,.0f} images/s  "
            f"{int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )

    def write(
        self, outcome: Outcome, model: nn.Module, columns: list[str], about: Mapping[str, Any]
    ) -> None:
        """Write model.safetensors, log.csv and, last of all, train.json.

        columns: of the log. about: what train.json says beside what all trainings say.
        """
        write_text(self.out / "log.csv", log_text(outcome.history, columns))
        cell = {"cell": self.spec.cell}
        save_tensors(self.out / "model.safetensors", model.state_dict(), cell)
        last = outcome.history[-1] if outcome.history else {"step": 0, "seconds": 0.0}
        device = next(model.parameters()).device
        record = {
            "status": outcome.status,
            "message": outcome.message,
            **self._told(),
            "epochs": epochs_done(outcome.history, self.steps),
            "images": self.images,
            "steps": int(last["step"]),
            "planned_steps": self.steps * self.spec.knobs.epochs,
            "seconds": last["seconds"],
            **origin(devices.name(device), torch.get_num_threads()),
            "processes": processes.count(),
            "log_sha256": digest(self.out / "log.csv"),
            "model_sha256": digest(self.out / "model.safetensors"),
            "parameters": sum(p.numel() for p in model.parameters()),
            **about,
        }
        write(self.out / "train.json", TrainRecord.model_validate(record))

    def _told(self) -> dict[str, Any]:
        """The part of the spec that decides what is trained: not how the model is sampled later."""
        knobs = self.spec.knobs.model_dump(exclude=set(Sampling.model_fields))
        told = self.spec.model_dump(include={"budget", "cell", "versions"})
        return {**told, "knobs": knobs}


def claimed(out: Path) -> AbstractContextManager[None]:
    """Hold the lock of a cell's folder, in the main process."""
    return claim(out / "state" / "lock") if processes.is_main() else nullcontext()
