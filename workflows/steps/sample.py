"""Sample one diffusion model: `python -m workflows.steps.sample --help`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.streams import Purpose, generator
from workflows import devices
from workflows.checkpoint import load_model
from workflows.files import digest, write_atomically, write_json
from workflows.protocol import load_protocol
from workflows.provenance import origin
from workflows.registry import build_backbone
from workflows.sampling import sample_points, to_images
from workflows.schema import ConfigError
from workflows.spaces import space_of
from workflows.tensor_files import CheckpointError, read_tensors

# Samples that are kept together while sampling goes on; what an interruption costs at most.
PART = 256


def run(
    cell: Path,
    sampling: dict[str, Any],
    stage1: Path | None,
    latents: Path | None,
    versions: Mapping[str, int] | None = None,
    threads: int = 1,
) -> None:
    """Write samples.npy, uint8 (n, c, h, w), progress.npy, noise.npy and sampling.json.

    sampling: the knobs that sampling reads. stage1, latents: folder of the first stage and the file
    of its latents, None for pixels. noise.npy: as many images decoded from noise as there are
    samples along the training, for comparison; progress.npy has those, (moments, n, c, h, w).
    versions: of what samples.
    Parts that an interrupted run left are taken over if model, knobs and versions are the same.
    """
    device = devices.choose()
    devices.set_precision("fp32", device)
    record = json.loads((cell / "train.json").read_text(encoding="utf-8"))
    knobs = {**record["knobs"], **sampling}
    if record["status"] != "finished":
        # A model that diverged has no samples; its row says why.
        write_json(cell / "sampling.json", {"status": record["status"]})
        _write(cell / "samples.npy", np.empty((0, 1, 1, 1), np.uint8))
        _write(cell / "noise.npy", np.empty((0, 1, 1, 1), np.uint8))
        _write(cell / "progress.npy", np.empty((0, 0, 1, 1, 1), np.uint8))
        return
    if stage1 is not None and digest(stage1 / "model.safetensors") != record["first_stage"]:
        raise CheckpointError(
            f"{stage1 / 'model.safetensors'}: not the first stage that {cell / 'train.json'} was "
            "trained on; train the diffusion model again"
        )
    space = space_of(knobs, stage1, latents)
    backbone = build_backbone(knobs, record["shape"][0], record["classes"])
    file = cell / "model.safetensors"
    load_model(file, record, backbone)
    backbone = backbone.to(device).requires_grad_(False)
    shape = tuple(record["shape"])
    parts = cell / "state" / "samples"
    identity = json.dumps([digest(file), sampling, versions], sort_keys=True)
    if not (parts / "of.json").exists() or json.loads((parts / "of.json").read_text()) != identity:
        shutil.rmtree(parts, ignore_errors=True)
        write_json(parts / "of.json", identity)
    start = time.perf_counter()
    files = []
    for first in range(0, knobs["samples"], PART):
        numbers = range(first, min(first + PART, knobs["samples"]))
        part = parts / f"{first:08d}.npy"
        if not part.exists():
            points = sample_points(backbone, knobs, shape, record["classes"], numbers, device)
            _write(part, _stored(to_images(space, points, device)))
            done = numbers[-1] + 1
            left = (time.perf_counter() - start) / (done - first) * (knobs["samples"] - done)
            print(
                f"[{record['cell']}] {done}/{knobs['samples']} samples  "
                f"{int(left // 60)}:{int(left % 60):02d} left",
                flush=True,
            )
        files.append(part)
    kept, _ = read_tensors(cell / "progress.safetensors")
    along = [_stored(to_images(space, kept[name], device)) for name in sorted(kept)]
    stream = generator(knobs["seed"], Purpose.UNTRAINED)
    noise = torch.randn((len(along[-1]), *shape), generator=stream)
    _write(cell / "progress.npy", np.stack(along))
    _write(cell / "noise.npy", _stored(to_images(space, noise, device)))
    _join(cell / "samples.npy", files, knobs["samples"])
    write_json(
        cell / "sampling.json",
        {
            "status": "finished",
            **sampling,
            "epochs": [int(name) for name in sorted(kept)],
            "seconds": time.perf_counter() - start,
            **origin(devices.name(device), threads),
            "versions": dict(versions or {}),
        },
    )
    shutil.rmtree(cell / "state", ignore_errors=True)


def _stored(images: torch.Tensor) -> np.ndarray:
    """uint8, as the protocol that measures samples rounds them."""
    return load_protocol("samples").quantise(images.numpy())


def _join(file: Path, parts: list[Path], count: int) -> None:
    """One array of all parts, of which one is in memory at a time."""
    shape = (count, *np.load(parts[0], mmap_mode="r").shape[1:])

    def write(path: Path) -> None:
        whole = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        for number, part in enumerate(parts):
            whole[number * PART : (number + 1) * PART] = np.load(part)
        whole.flush()

    write_atomically(file, write)


def _write(file: Path, array: np.ndarray) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as handle:
            np.lib.format.write_array(handle, array, allow_pickle=False)

    write_atomically(file, write)


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", type=Path, required=True)
    parser.add_argument("--sampling", required=True, help="JSON of the knobs of sampling")
    parser.add_argument("--stage1", type=Path, help="folder of the first stage; none for pixels")
    parser.add_argument("--latents", type=Path, help="of the first stage; none for pixels")
    parser.add_argument("--versions", default="{}", help="JSON: part of sampling -> version")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        sampling = json.loads(arguments.sampling)
        run(
            arguments.cell,
            sampling,
            arguments.stage1,
            arguments.latents,
            json.loads(arguments.versions),
            arguments.threads,
        )
    except (CheckpointError, ConfigError, OSError, json.JSONDecodeError) as error:
        print(f"sample: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"sample: key {error} is missing in {arguments.cell / 'train.json'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
