"""Reading the metric networks' weights from the first place that has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from workflows import weight_files
from workflows.weight_sources import (
    DOWNLOADS,
    FOLDER_VARIABLE,
    PACKAGES,
    Source,
    WeightsError,
    check_sum,
    package_file,
)


@dataclass(frozen=True)
class Weights:
    """One network's tensors under their canonical names.

    route: the package's name, or "canonical" for the published files, given or downloaded.
    files: the name and the whole sha256 of every file read.
    """

    tensors: dict[str, Tensor]
    route: str
    files: list[dict[str, str]]


def load_weights(network: str) -> Weights:
    """The weights from the first place that is to be asked. network: one of NETWORKS.

    Raises WeightsError for a file that is missing, cannot be downloaded, or has another sha256.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        return _canonical([folder_file(s, Path(folder)) for s in DOWNLOADS[network]], network)
    source = PACKAGES[network]
    file = package_file(source)
    if file is not None:
        about = {"name": source.name, "sha256": check_sum(file, source.sha256)}
        inception = network == "inception"
        read = weight_files.read_torchscript if inception else weight_files.read_checkpoint
        return Weights(read(file, network), source.package.replace("_", "-"), [about])
    return _canonical([download(source) for source in DOWNLOADS[network]], network)


def _canonical(files: list[Path], network: str) -> Weights:
    tensors: dict[str, Tensor] = {}
    about = []
    for file, source in zip(files, DOWNLOADS[network], strict=True):
        about.append({"name": source.name, "sha256": check_sum(file, source.sha256)})
        tensors |= weight_files.read_pth(file)
    return Weights(weight_files.canonical_names(tensors, network), "canonical", about)


def folder_file(source: Source, folder: Path) -> Path:
    """The file in the folder that CODEBOOK_WEIGHTS names, at any depth. Raises WeightsError."""
    found = sorted(folder.rglob(source.name))
    if not found:
        raise WeightsError(f"{folder / source.name}: no such file ({FOLDER_VARIABLE} is set)")
    return found[0]


def download(source: Source) -> Path:
    """The canonical file, downloaded once, with a progress bar. Raises WeightsError."""
    import pooch

    # It would print each sum and advise to pin it; the sums are pinned here.
    pooch.get_logger().setLevel("WARNING")
    cache = pooch.os_cache("codebook-benchmark")
    try:
        return Path(pooch.retrieve(source.url, None, source.name, cache, progressbar=True))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{source.url}: cannot be downloaded ({reason})") from error
