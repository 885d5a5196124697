"""Cache the latents of a first stage: `python -m workflows.steps.latents --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from workflows import devices
from workflows.data import DataError, load_train
from workflows.files import digest
from workflows.schema import ConfigError
from workflows.spaces import first_stage, write_latents
from workflows.tensor_files import CheckpointError


def run(cell: Path, data: Path, versions: Mapping[str, int], out: Path) -> None:
    """Write `points`, (n, d, h, w), of the training images without validation, in their order."""
    device = devices.choose()
    devices.set_precision("fp32", device)
    loaded = load_train(data)
    trained = first_stage(cell, loaded.record["train"]["sha256"], versions)
    about = {
        "cell": trained.record["cell"],
        "model": digest(cell / "model.safetensors"),
        "dataset": loaded.record["train"]["sha256"],
    }
    found = write_latents(out, trained, loaded.train, about, device)
    shape = " x ".join(map(str, found.points.shape))
    print(f"[{trained.record['cell']}] latents {shape}, times {found.scale:.4g}")


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", type=Path, required=True, help="folder of the first stage")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--versions", default="{}", help="JSON: of what trains first stages now")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        versions = json.loads(arguments.versions)
        run(arguments.cell, arguments.data, versions, arguments.out)
    except (CheckpointError, ConfigError, DataError, OSError, KeyError) as error:
        print(f"latents: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
