"""Measure one cell: `python -m workflows.steps.evaluate --help`."""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors import SafetensorError

from workflows import devices
from workflows.checkpoint import Trained, load_trained
from workflows.evaluation import (
    BATCH,
    BLOCK,
    COLUMNS,
    Measurement,
    Row,
    check_reference,
    code_rows,
)
from workflows.files import digest, write_atomically, write_json, write_text
from workflows.metric_networks import Networks, load_networks
from workflows.protocol import NotFinite, load_protocol, rgb
from workflows.provenance import origin
from workflows.tensor_files import open_rows

SHOWN = 8


@torch.inference_mode()
def reconstruct(
    model: torch.nn.Module, images: np.ndarray, codebook_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Reconstructions of uint8 (N, C, H, W), clipped to [0, 1], and how often each code was hit."""
    made, counts = [], np.zeros(codebook_size, dtype=np.int64)
    for start in range(0, len(images), BATCH):
        batch = torch.tensor(images[start : start + BATCH], device=device).float()
        output = model(batch / 127.5 - 1)
        made.append((output.images.clamp(-1, 1).float() + 1).div(2).cpu().numpy())
        codes = output.quantised.codes.flatten().cpu().numpy()
        counts += np.bincount(codes, minlength=codebook_size)
    return np.concatenate(made), counts


def read_reference(
    files: list[Path], protocol: str, sha256: str, features: Mapping[str, str]
) -> np.ndarray:
    """The features, (N, 2048), of the protocol's file, memory-mapped.

    Raises ValueError if none fits.

    sha256: of the images. features: how results name the metric networks.
    """
    wanted = {"sha256": sha256, "features": features["inception"]}
    for file in files:
        try:
            stored = open_rows(file, "features")
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{file}: damaged ({error})") from error
        metadata = stored.metadata
        if metadata.get("protocol") != protocol:
            continue
        for key, value in wanted.items():
            if metadata.get(key) != value:
                raise ValueError(f"{file}: {key} is {metadata.get(key)}, expected {value}")
        return stored.rows
    raise ValueError(f"no --reference file is of protocol '{protocol}'")


def grid(images: np.ndarray, reconstructions: np.ndarray) -> Image.Image:
    """The first eight images, uint8, above their reconstructions in [0, 1]."""
    restored = np.rint(reconstructions[:SHOWN] * 255).astype(np.uint8)
    rows = [np.concatenate(list(rgb(x)), axis=2) for x in (images[:SHOWN], restored)]
    return Image.fromarray(np.concatenate(rows, axis=1).transpose(1, 2, 0).copy())


@dataclass
class Looked:
    """What a model did with the test images.

    counts: how often each code was hit, (K,). picture: some reconstructions. message: which values
    were not finite, or empty.
    """

    counts: np.ndarray
    picture: Image.Image | None = None
    message: str = ""


def look(
    trained: Trained, test: np.ndarray, measurements: list[Measurement], device: torch.device
) -> Looked:
    """Reconstruct all test images, uint8 (N, C, H, W), and hand them to the measurements.

    A model whose values are not finite is not measured, but its codes are counted all the same.
    """
    model = trained.model.to(device)
    found = Looked(np.zeros(trained.codebook_size, dtype=np.int64))
    for first in range(0, len(test), BLOCK):
        images = np.asarray(test[first : first + BLOCK])
        made, hit = reconstruct(model, images, trained.codebook_size, device)
        found.counts += hit
        found.picture = found.picture or grid(images, np.nan_to_num(made))
        if found.message:
            continue
        try:
            for measurement in measurements:
                measurement.add(images, made)
        except NotFinite as error:
            found.message = str(error)
    return found


def prepare(
    arguments: argparse.Namespace, test: np.ndarray, sha256: str, networks: Networks
) -> list[Measurement]:
    """A measurement for each protocol, whose reference features have been read and checked.

    sha256: of the test images.
    """
    limits = (arguments.fid_images or None, arguments.lpips_images or None)
    found = []
    for protocol in map(load_protocol, arguments.protocols):
        files = arguments.reference
        reference = read_reference(files, protocol.name, sha256, networks.features)
        check_reference(reference, len(test[: limits[0]]))
        found.append(Measurement(protocol, networks, reference, *limits))
    return found


def run(arguments: argparse.Namespace) -> None:
    """Write metrics.csv, codes.csv, reconstructions.png and evaluation.json of a cell."""
    from workflows.data import SMALL, load_test, verify

    device = devices.choose()
    devices.set_precision("fp32", device)
    for name in arguments.protocols:
        load_protocol(name)
    verify(arguments.data, ("test",), SMALL)
    test, record = load_test(arguments.data)
    trained = load_trained(arguments.cell)
    # Everything is read before the work starts, so that a bad file is refused at once.
    networks, measurements = None, []
    if trained.record["status"] == "finished":
        networks = load_networks(arguments.weights, device)
        measurements = prepare(arguments, test, record["test"]["sha256"], networks)
    start = time.perf_counter()
    found = look(trained, test, measurements, device)
    rows = []
    for measurement in measurements if not found.message else []:
        rows += measurement.rows()
        rows += code_rows(found.counts, measurement.protocol, len(test))
    seconds = time.perf_counter() - start
    print(f"[{trained.record['cell']}] evaluated in {seconds:.1f} s  {found.message}", flush=True)
    write_results(arguments.cell, found, rows)
    about = {
        **origin(devices.name(device), arguments.threads),
        "status": "diverged" if found.message else "finished",
        "message": found.message,
        "dataset_sha256": record["test"]["sha256"],
        "versions": json.loads(arguments.versions),
        "protocols": arguments.protocols,
        "fid_images": arguments.fid_images,
        "lpips_images": arguments.lpips_images,
        "features": networks.digests if networks else {},
    }
    write_evaluation(arguments.cell, about, ["train.json", "codes.csv", "metrics.csv"])
    if trained.record["status"] == "finished":
        # Whoever runs a finished cell again wants it trained again, not read back.
        shutil.rmtree(arguments.cell / "state", ignore_errors=True)


def write_results(cell: Path, found: Looked, rows: list[Row]) -> None:
    """Write reconstructions.png, codes.csv and metrics.csv."""
    assert found.picture is not None, "a test split has images"
    codes = pd.DataFrame({"code": np.arange(len(found.counts)), "count": found.counts})
    save = functools.partial(found.picture.save, format="PNG")
    write_atomically(cell / "reconstructions.png", save)
    write_text(cell / "codes.csv", codes.to_csv(index=False))
    write_text(cell / "metrics.csv", pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False))


def write_evaluation(cell: Path, about: dict[str, Any], files: list[str]) -> None:
    """Write evaluation.json: what a cell's numbers were made of, and the digests of its files.

    about: its maker, `status` and `message` of the evaluation, `dataset_sha256` of the images that
    the cell's were compared with, `versions` and `features` (names of metric networks -> SHA-256 of
    their weights). files: names in the folder.
    """
    digests = {name: digest(cell / name) for name in files}
    write_json(cell / "evaluation.json", {**about, "files": digests})


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--protocols", nargs="+", required=True)
    parser.add_argument("--fid-images", type=int, default=0, help="first N; 0 for all")
    parser.add_argument("--lpips-images", type=int, default=0, help="first N; 0 for all")
    parser.add_argument("--reference", type=Path, nargs="+", required=True)
    parser.add_argument("--versions", default="{}", help="JSON: metric or protocol -> version")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        run(arguments)
    except KeyError as error:
        where = f"{arguments.cell / 'train.json'} or {arguments.data / 'dataset.json'}"
        print(f"evaluate: key {error} is missing in {where}", file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        print(f"evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
