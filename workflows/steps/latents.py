"""Cache the latents of a first stage: `python -m workflows.steps.latents --help`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from workflows import cli
from workflows.data import load_train
from workflows.files import digest
from workflows.training import devices
from workflows.training.spaces import first_stage, write_latents


def run(cell: Path, data: Path, versions: Mapping[str, int], out: Path) -> None:
    """Write `points`, (n, d, h, w), of the training images without validation, in their order."""
    device = devices.choose()
    devices.set_precision("fp32", device)
    loaded = load_train(data)
    trained = first_stage(cell, loaded.record.train.sha256, versions)
    about = {
        "cell": trained.record.cell,
        "model": digest(cell / "model.safetensors"),
        "dataset": loaded.record.train.sha256,
    }
    found = write_latents(out, trained, loaded.train, about, device)
    shape = " x ".join(map(str, found.points.shape))
    print(f"[{trained.record.cell}] latents {shape}, times {found.scale:.4g}")


def main(cell: Path, data: Path, versions: dict[str, int], out: Path, threads: int) -> None:
    """Write the latents of a cell's training images."""
    torch.set_num_threads(threads)
    with devices.memory_explained(cell):
        run(cell, data, versions, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="latents", description=__doc__)
    parser.add_argument("--cell", type=Path, required=True, help="folder of the first stage")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--versions", type=json.loads, default={}, help="JSON: of what trains first stages now"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    cli.run(parser, main)
