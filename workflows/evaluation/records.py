"""What evaluations of both stages read and leave: reference features, and evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from workflows.config.records import EvaluationRecord, write
from workflows.errors import BenchmarkError
from workflows.files import digest
from workflows.training.tensor_files import open_rows


def read_reference(
    files: list[Path], protocol: str, sha256: str, features: Mapping[str, str]
) -> np.ndarray:
    """The features, (N, 2048), of the protocol's file, memory-mapped.

    Raises BenchmarkError if none fits.
    sha256: of the images. features: how results name the metric networks.
    """
    wanted = {"sha256": sha256, "features": features["inception"]}
    for file in files:
        try:
            stored = open_rows(file, "features")
        except (SafetensorError, KeyError, ValueError) as error:
            raise BenchmarkError(f"{file}: damaged ({error})") from error
        metadata = stored.metadata
        if metadata.get("protocol") != protocol:
            continue
        for key, value in wanted.items():
            if metadata.get(key) != value:
                raise BenchmarkError(f"{file}: {key} is {metadata.get(key)}, expected {value}")
        return stored.rows
    raise BenchmarkError(f"no --reference file is of protocol '{protocol}'")


def write_evaluation(cell: Path, about: dict[str, Any], files: list[str]) -> None:
    """Write evaluation.json: what a cell's numbers were made of, and the digests of its files.

    about: its maker, `status` and `message` of the evaluation, `dataset_sha256` of the images that
    the cell's were compared with, `versions` and `features` (names of metric networks -> SHA-256 of
    their weights). files: names in the folder.
    """
    digests = {name: digest(cell / name) for name in files}
    record = EvaluationRecord.model_validate({**about, "files": digests})
    write(cell / "evaluation.json", record)
