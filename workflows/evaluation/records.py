"""What evaluations of both stages read and leave: reference features, and evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflows.config.provenance import origin
from workflows.config.records import EvaluationRecord, write
from workflows.files import digest
from workflows.training import devices
from workflows.training.tensor_files import open_rows


def read_reference(file: Path, protocol: str, sha256: str, features: str) -> np.ndarray:
    """The features, (N, 2048), of a file, memory-mapped.

    sha256: of the images. features: how results name Inception. Raises CheckpointError for a file
    that is damaged or of another protocol, other images or other weights.
    """
    wanted = {"protocol": protocol, "sha256": sha256, "features": features}
    return open_rows(file, "features", wanted)[0]


def write_evaluation(
    cell: Path, device: torch.device, about: dict[str, Any], files: list[str]
) -> None:
    """Write evaluation.json: what a cell's numbers were made of, and the digests of its files.

    device: that measured. about: fields of the record. files: names in the folder.
    """
    digests = {name: digest(cell / name) for name in files}
    made_by = origin(devices.name(device), torch.get_num_threads())
    record = EvaluationRecord.model_validate({**made_by, **about, "files": digests})
    write(cell / "evaluation.json", record)


def say_not_measured(cell: str, dataset: str, reasons: Mapping[str, str]) -> None:
    """Print which metrics a cell has not got, and why. reasons: by metric."""
    for metric, reason in reasons.items():
        print(f"[{cell}] {dataset}: {metric} is not measured: it {reason}", flush=True)
