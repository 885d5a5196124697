"""Reading the metric networks' weights under their canonical names.

The SHA-256 of a file is checked before the file is read. Even so no code in a file is run: pickles
are read as plain arrays only, and of TorchScript the tensors.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflows.data.formats import ArraysOnly
from workflows.data.weight_sources import file_of
from workflows.errors import DataError
from workflows.metrics import inception, perceptual


def load_weights(network: str) -> dict[str, Tensor]:
    """The tensors of one of NETWORKS. Raises DataError for a file that is missing or another."""
    file = file_of(network)
    return read_torchscript(file) if network == "inception" else read_lpips(file, network)


def read_torchscript(file: Path) -> dict[str, Tensor]:
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
