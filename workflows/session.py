"""What a training of either stage keeps in its cell's folder: states, progress and its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workflows import devices, processes
from workflows.checkpoint import load_state, resume, save_state
from workflows.files import digest, write_json, write_text
from workflows.provenance import origin
from workflows.tensor_files import save_tensors
from workflows.training import Diverged, Observers, epochs_done, log_text

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

    spec: {budget, cell, knobs}. out: the cell's folder. identity: settings, data and versions; a
    state of another identity is ignored. images: trained on. steps: of an epoch. pack: gives the
    tensors that the training can go on from after so many steps. unpack: loads them. Of several
    processes only the main one writes and prints.
    """

    spec: Mapping[str, Any]
    out: Path
    identity: str
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
        history = resume(state, self.identity, self.unpack)
        resumed = dict(history[-1]) if history else {"step": 0, "seconds": 0.0}

        def after_epoch(history: History) -> None:
            if processes.is_main():
                metadata = {"identity": self.identity, "history": json.dumps(history)}
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
            if processes.is_main():
                print(f"[{self.spec['cell']}] {error}; {which}", flush=True)
            return Outcome("diverged", str(error), history)
        return Outcome("finished", "", history)

    def _report(self, record: dict[str, float], resumed: Mapping[str, float]) -> None:
        """Write progress.json and print a line. resumed: the record that this run began from."""
        epochs = self.spec["knobs"]["epochs"]
        pace = (record["seconds"] - resumed["seconds"]) / (record["step"] - resumed["step"])
        left = pace * (self.steps * epochs - record["step"])
        progress = {**record, "epochs": epochs, "seconds_left": left}
        write_json(self.out / "state" / "progress.json", progress)
        usage = f"usage {record['usage']:.1%}  " if "usage" in record else ""
        print(
            f"[{self.spec['cell']}] epoch {record['epoch']:.3g}/{epochs}  "
            f"loss {record['loss']:.4g}  {usage}{record['images_per_second']:,.0f} images/s  "
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
        cell = {"cell": self.spec["cell"]}
        save_tensors(self.out / "model.safetensors", model.state_dict(), cell)
        last = outcome.history[-1] if outcome.history else {"step": 0, "seconds": 0.0}
        device = next(model.parameters()).device
        record = {
            "status": outcome.status,
            "message": outcome.message,
            **self.spec,
            "epochs": epochs_done(outcome.history, self.steps),
            "images": self.images,
            "steps": int(last["step"]),
            "planned_steps": self.steps * self.spec["knobs"]["epochs"],
            "seconds": last["seconds"],
            **origin(devices.name(device), torch.get_num_threads()),
            "processes": processes.count(),
            "log_sha256": digest(self.out / "log.csv"),
            "model_sha256": digest(self.out / "model.safetensors"),
            "parameters": sum(p.numel() for p in model.parameters()),
            **about,
        }
        write_json(self.out / "train.json", record)
