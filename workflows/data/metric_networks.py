"""Read metric networks and frozen networks from the files of pinned packages.

The SHA-256 of a file is checked before the file is read. No code in a file is run: pickles may hold
only plain arrays or tensors, and of TorchScript only the tensors are taken. All functions raise
DataError for a missing or unexpected file.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workflows.data.archives import any_error_as_data_error
from workflows.data.formats import ArraysOnly
from workflows.data.weight_sources import file_of

if TYPE_CHECKING:
    from lpips import LPIPS

    from workflows.metrics.inception import Inception


@dataclass(frozen=True)
class Networks:
    """The networks that measure reconstructions. Each field is a name in SOURCES."""

    inception: Inception
    lpips_vgg: LPIPS
    lpips_alex: LPIPS


def load_networks(device: torch.device | str = "cpu") -> Networks:
    """Load the networks that measure reconstructions."""
    # Trainings import this module and should not wait for these imports.
    from workflows.metrics.inception import load_inception
    from workflows.metrics.perceptual import load_perceptual

    return Networks(
        load_inception(read_inception()).to(device),
        load_perceptual("vgg", read_lpips("vgg")).to(device),
        load_perceptual("alex", read_lpips("alex")).to(device),
    )


def read_inception() -> dict[str, Tensor]:
    """Return the tensors of Inception's TorchScript file, under pytorch-fid's names."""
    from workflows.metrics.inception import kernels

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(file_of("inception"), map_location="cpu").state_dict()
    layers = [name.removesuffix(".weight") for name in script if name.endswith(".weight")]
    tensors = {}
    for layer, name in zip(layers, kernels(), strict=True):
        beta = script[f"{layer}.beta"].flatten()
        tensors[f"{name}.conv.weight"] = script[f"{layer}.weight"]
        tensors[f"{name}.bn.weight"] = torch.ones_like(beta)
        tensors[f"{name}.bn.bias"] = beta
        tensors[f"{name}.bn.running_mean"] = script[f"{layer}.mean"].flatten()
        tensors[f"{name}.bn.running_var"] = script[f"{layer}.var"].flatten()
    return tensors


def read_lpips(backbone: str) -> list[Tensor]:
    """Return the tensors of an LPIPS pickle of numpy arrays.

    They are weight and bias of each convolution, and then the weights of the five heads. Kernels
    are stored as HWIO. backbone: "alex" or "vgg".
    """
    file = file_of(f"lpips_{backbone}")
    with any_error_as_data_error(f"{file}: refused"):
        content = ArraysOnly(io.BytesIO(file.read_bytes())).load()
    content = content.get("params", content)
    convolutions = next(layers for name, layers in content.items() if not name.startswith("Net"))
    tensors = []
    for index in range(len(convolutions)):
        layer = convolutions[f"Conv_{index}"]
        tensors += [_from_hwio(layer["kernel"]), torch.tensor(np.asarray(layer["bias"]))]
    heads = [content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"] for index in range(5)]
    return tensors + [_from_hwio(head) for head in heads]


def _from_hwio(kernel: Any) -> Tensor:
    return torch.tensor(np.ascontiguousarray(np.asarray(kernel).transpose(3, 2, 0, 1)))


def read_frozen(network: str) -> dict[str, Tensor]:
    """Return the tensors of a frozen network that is part of a model. network: in SOURCES."""
    file = file_of(network)
    with any_error_as_data_error(f"{file}: refused"):
        return dict(torch.load(file, map_location="cpu", weights_only=True))
