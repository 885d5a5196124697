"""The files of an evaluation: reference features, tables, pictures and evaluation.json."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from workflows.config.provenance import origin
from workflows.config.records import EvaluationRecord, write
from workflows.files import digest, write_atomically, write_text
from workflows.training import devices
from workflows.training.tensor_files import open_rows


def read_reference(file: Path, protocol: str, sha256: str, features: str) -> np.ndarray:
    """Return the Inception features of reference images, (N, 2048), memory-mapped.

    sha256: of the images. features: the name of the Inception network in results. Raises
    CheckpointError for a file that is damaged or of another protocol, dataset or network.
    """
    expected = {"protocol": protocol, "sha256": sha256, "features": features}
    return open_rows(file, "features", expected)[0]


def write_evaluation(
    cell: Path, device: torch.device, fields: dict[str, Any], files: list[str]
) -> None:
    """Write evaluation.json: where a cell's numbers come from, and the digests of its files.

    device: that measured. fields: of the record. files: names in the cell's folder. The state of
    the training is removed first, because the record makes the cell a finished one, and a finished
    cell that is made again starts from scratch.
    """
    digests = {name: digest(cell / name) for name in files}
    made_by = origin(devices.name(device), torch.get_num_threads())
    record = EvaluationRecord.model_validate({**made_by, **fields, "files": digests})
    shutil.rmtree(cell / "state", ignore_errors=True)
    write(cell / "evaluation.json", record)


def write_table(file: Path, rows: list[Any], columns: list[str]) -> None:
    """Write a CSV file."""
    write_text(file, pd.DataFrame(rows, columns=columns).to_csv(index=False))


def write_picture(file: Path, images: np.ndarray, across: int) -> None:
    """Write uint8 images (n, c, h, w) as a PNG, `across` in each row; drop a row that is short."""
    whole = torch.tensor(images[: len(images) // across * across])
    picture = to_pil_image(make_grid(whole, across, padding=0))
    write_atomically(file, lambda path: picture.save(path, "PNG"))
