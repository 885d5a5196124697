"""Trainings at the published size, on four photographs: `python -m benchmarks.published_size`.

Each cell of the budget `paper` runs a few steps of 256 x 256 images, straight and killed after an
epoch and resumed. The table says whether both end with the same model, and how much memory the
process took beside what its training states beforehand and what its job asks a cluster for.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skimage.data
import torch

from benchmarks.gpu import dataset
from benchmarks.same_numbers import command, kill_after_an_epoch, step, variables
from workflows import requests
from workflows.cell import Cell
from workflows.data import describe, names
from workflows.grid import Grid, load_grid
from workflows.provenance import commit

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "published_size.csv"
BUDGET = "paper"
# VQGAN's published size (f = 16), the first stage of latent diffusion (f = 4), and that diffusion.
CELLS = (
    "ffhq/cvq_vae/default/seed0",
    "ffhq/cvq_vae/vqgan-f4-K8192-D3/seed0",
    "ffhq/ldm/cvq_vae-vqgan-f4-K8192-D3/seed0",
)
SIDE, IMAGES, HELD = 256, 2, 1
# Two steps, of which the second has a critic.
SHORT = {"batch_size": 2, "epochs": 2, "train_images": None, "adversarial_start": 1}
STATED = re.compile(r"parameters, ([0-9.]+) GiB")


def photographs() -> np.ndarray:
    """Photographs that come with scikit-image, uint8 (n, 3, SIDE, SIDE)."""
    found = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.rocket()]
    cut = [np.asarray(photograph)[:SIDE, :SIDE] for photograph in found]
    return np.ascontiguousarray(np.stack(cut).transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Place:
    """Folders of the dataset, of the metric networks and of all that is trained."""

    data: Path
    weights: Path
    work: Path

    def folder(self, cell: str, way: str = "straight") -> Path:
        """Of a cell that was trained in some way."""
        return self.work / way / cell

    def training(self, cell: Cell, way: str) -> list[str]:
        """The command line of a cell's training."""
        knobs = {**cell.knobs, **{k: v for k, v in SHORT.items() if k in cell.knobs}}
        spec = json.dumps({"budget": BUDGET, "cell": cell.id, "knobs": knobs})
        out = self.folder(cell.id, way)
        shared = ["--spec", spec, "--data", self.data, "--out", out, "--threads", 1]
        if cell.first_stage is None:
            return command("train", *shared, "--weights", self.weights)
        latents = self.folder(cell.first_stage) / "latents.safetensors"
        return command("train_diffusion", *shared, "--latents", latents, "--progress-samples", 1)


def finish(line: list[str], log: Path) -> int:
    """Run a command to its end on the processor; the most memory that it held, in MiB. Raises
    RuntimeError.

    Linux counts from what this process held when it started the other.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            env=variables({"CUDA_VISIBLE_DEVICES": ""}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{line[2]} failed: {log.read_text()}")
    # Kilobytes, but on macOS bytes.
    return usage.ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)


def measured(grid: Grid, cell: Cell, place: Place) -> dict[str, Any]:
    """A line of the table."""
    log = place.work / "log.txt"
    straight, resumed = (place.folder(cell.id, way) for way in ("straight", "resumed"))
    for folder in (straight, resumed):
        folder.mkdir(parents=True)
    peak = finish(place.training(cell, "straight"), log)
    stated = STATED.search(log.read_text())
    assert stated is not None
    record = json.loads((straight / "train.json").read_text())
    kill_after_an_epoch(place.training(cell, "resumed"), resumed)
    finish(place.training(cell, "resumed"), log)
    again = json.loads((resumed / "train.json").read_text())
    below = grid.cells[cell.first_stage].knobs if cell.first_stage else None
    side = SIDE if below is None else requests.grid_side(below, SIDE)
    knobs = record["knobs"]
    return {
        "cell": cell.id,
        "parameters": record["parameters"],
        "side": side,
        "batch_size": knobs["batch_size"],
        "steps": record["steps"],
        "seconds_a_step": round(record["seconds"] / record["steps"], 1),
        "stated_gib": float(stated[1]),
        "peak_gib": round(peak / 1024, 1),
        "asked_gib": round(
            requests.megabytes(requests.training_bytes(knobs, side, requests.PROCESSOR), 1) / 1024,
            1,
        ),
        "resumed_alike": record["model_sha256"] == again["model_sha256"],
    }


def table(cells: Iterable[str], place: Place) -> pd.DataFrame:
    """A line a cell; first stages before what is trained on their latents."""
    grid = load_grid(BUDGET, {name: describe(name) for name in names()})
    # Of the code that runs, not of what was changed in the meantime.
    head, dirty = commit()
    rows = []
    for name in cells:
        cell = grid.cell(name)
        if cell.first_stage:
            folder = place.folder(cell.first_stage)
            latents = ["--cell", folder, "--data", place.data]
            out = folder / "latents.safetensors"
            step("latents", *latents, "--out", out, environment={"CUDA_VISIBLE_DEVICES": ""})
        rows.append(measured(grid, cell, place))
        print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)
    frame["commit"] = f"{head}+changes" if dirty else head
    frame["torch"] = torch.__version__
    frame["device"] = f"cpu ({torch.backends.cpu.get_cpu_capability()})"
    return frame


def main() -> int:
    """Parse the command line; 1 if a resumed training differs or takes more than its job asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codebook-size-") as folder:
        place = Place(*(Path(folder) / name for name in ("data", "weights", "work")))
        place.data.mkdir()
        dataset(place.data, photographs(), HELD)
        step("weights", "--out", place.weights)
        frame = table(CELLS, place)
    frame.to_csv(arguments.out, index=False)
    print(frame.to_markdown(index=False))
    fits = frame["peak_gib"] <= frame["asked_gib"]
    return 0 if frame["resumed_alike"].all() and fits.all() else 1


if __name__ == "__main__":
    sys.exit(main())
