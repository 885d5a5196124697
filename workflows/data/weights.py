"""Reading the metric networks' weights under their canonical names.

The SHA-256 of a file is checked before the file is read. Even so no code in a file is run: pickles
are read as plain arrays only, .pth files with `weights_only=True`, and of TorchScript the tensors.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflows.data.formats import ArraysOnly
from workflows.data.weight_sources import check_sum, files_of
from workflows.errors import DataError
from workflows.metrics import inception, perceptual


@dataclass(frozen=True)
class Weights:
    """One network's tensors under their canonical names.

    route: the package's name, or "canonical" for the published files. files: the name and the whole
    sha256 of every file read.
    """

    tensors: dict[str, Tensor]
    route: str
    files: list[dict[str, str]]


def load_weights(network: str) -> Weights:
    """The weights of one of NETWORKS. Raises DataError for a file that is missing or that has
    another sha256.
    """
    tensors: dict[str, Tensor] = {}
    read, route = [], "canonical"
    for source, file in files_of(network).items():
        read.append({"name": source.name, "sha256": check_sum(file, source.sha256)})
        if source.package:
            route = source.package.replace("_", "-")
            tensors = (read_torchscript if network == "inception" else read_lpips)(file, network)
        else:
            tensors |= canonical_names(read_pth(file), network)
    return Weights(tensors, route, read)


def read_torchscript(file: Path, _: str = "inception") -> dict[str, Tensor]:
    """The Inception of a TorchScript file, under pytorch-fid's names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(file, map_location="cpu").state_dict()
    kernels = [name.removesuffix(".weight") for name in script if name.endswith(".weight")]
    tensors = {}
    for theirs, name in zip(kernels, inception.kernels(), strict=True):
        beta = script[f"{theirs}.beta"].flatten()
        tensors[f"{name}.conv.weight"] = script[f"{theirs}.weight"]
        tensors[f"{name}.bn.weight"] = torch.ones_like(beta)
        tensors[f"{name}.bn.bias"] = beta
        tensors[f"{name}.bn.running_mean"] = script[f"{theirs}.mean"].flatten()
        tensors[f"{name}.bn.running_var"] = script[f"{theirs}.var"].flatten()
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


def read_lpips(file: Path, network: str) -> dict[str, Tensor]:
    """An LPIPS pickle of numpy arrays (kernels HWIO), under torchvision's names.

    Raises DataError if the file holds anything but arrays.
    """
    try:
        content = ArraysOnly(io.BytesIO(file.read_bytes())).load()
    except Exception as error:
        raise DataError(f"{file}: refused ({error})") from error
    content = content.get("params", content)
    backbone = next(value for name, value in content.items() if not name.startswith("Net"))
    names = perceptual.shapes(network.removeprefix("lpips_"))
    convolutions = [name.removesuffix(".bias") for name in names if name.endswith(".bias")]
    tensors = {}
    for index, name in enumerate(convolutions):
        layer = backbone[f"Conv_{index}"]
        tensors[f"{name}.weight"] = _from_hwio(layer["kernel"])
        tensors[f"{name}.bias"] = torch.tensor(np.asarray(layer["bias"]))
    for index in range(5):
        head = content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
        tensors[f"lin{index}.weight"] = _from_hwio(head)
    return tensors


def _from_hwio(kernel: Any) -> Tensor:
    return torch.tensor(np.ascontiguousarray(np.asarray(kernel).transpose(3, 2, 0, 1)))


def read_pth(file: Path) -> Mapping[str, Tensor]:
    """A state dict of torch.save. Raises DataError if the file holds anything but tensors."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: refused ({reason})") from error


def canonical_names(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Keep what the metric uses: no classifier, no counters; LPIPS heads as linN.weight."""
    if network == "inception":
        unused = ("fc.", "AuxLogits.")
        kept = {n: v for n, v in tensors.items() if not n.startswith(unused)}
        return {n: v for n, v in kept.items() if not n.endswith("num_batches_tracked")}
    renamed = {name.replace(".model.1.", "."): value for name, value in tensors.items()}
    return {n: v for n, v in renamed.items() if n.startswith(("features.", "lin"))}
