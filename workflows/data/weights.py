"""Read the metric networks' weights under their canonical names.

The SHA-256 of a file is checked before the file is read. No code in a file is run even so: only
plain arrays are read from pickles, and only tensors from TorchScript.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflows.data.archives import any_error_as_data_error
from workflows.data.formats import ArraysOnly
from workflows.data.weight_sources import file_of
from workflows.metrics import inception, perceptual


def load_weights(network: str) -> dict[str, Tensor]:
    """Return the tensors of one of NETWORKS. Raises DataError for a missing or unexpected file."""
    file = file_of(network)
    return read_torchscript(file) if network == "inception" else read_lpips(file, network)


def read_torchscript(file: Path) -> dict[str, Tensor]:
    """Return the tensors of the Inception in a TorchScript file, under pytorch-fid's names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(file, map_location="cpu").state_dict()
    layers = [name.removesuffix(".weight") for name in script if name.endswith(".weight")]
    tensors = {}
    for layer, name in zip(layers, inception.kernels(), strict=True):
        beta = script[f"{layer}.beta"].flatten()
        tensors[f"{name}.conv.weight"] = script[f"{layer}.weight"]
        tensors[f"{name}.bn.weight"] = torch.ones_like(beta)
        tensors[f"{name}.bn.bias"] = beta
        tensors[f"{name}.bn.running_mean"] = script[f"{layer}.mean"].flatten()
        tensors[f"{name}.bn.running_var"] = script[f"{layer}.var"].flatten()
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def read_lpips(file: Path, network: str) -> dict[str, Tensor]:
    """Return the tensors of an LPIPS pickle of numpy arrays, under torchvision's names.

    Kernels are stored as HWIO. Raises DataError if the file holds anything but arrays.
    """
    with any_error_as_data_error(f"{file}: refused"):
        content = ArraysOnly(io.BytesIO(file.read_bytes())).load()
    content = content.get("params", content)
    backbone = next(layers for name, layers in content.items() if not name.startswith("Net"))
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
