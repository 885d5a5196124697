"""The metric networks, from the files that the weights step wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from workflows.data.weight_sources import check_sum, read_record

if TYPE_CHECKING:
    from workflows.metrics.inception import Inception
    from workflows.metrics.perceptual import Perceptual


@dataclass(frozen=True)
class Networks:
    """The metric networks, and per network how results name it and its weights' route.

    digests: that name -> the SHA-256 of the weights.
    """

    inception: Inception
    lpips_vgg: Perceptual
    lpips_alex: Perceptual
    features: dict[str, str]
    digests: dict[str, str]


def load_networks(folder: Path, device: torch.device | str = "cpu") -> Networks:
    """The networks that the weights step wrote. Raises what `read_network` raises.

    Imports the packages of the networks, which whoever reads tensors alone need not wait for.
    """
    from workflows.metrics.inception import load_inception
    from workflows.metrics.perceptual import load_perceptual

    files = {name: read_network(folder, name) for name in ("inception", "lpips_vgg", "lpips_alex")}
    return Networks(
        load_inception(files["inception"].tensors).to(device),
        load_perceptual("vgg", files["lpips_vgg"].tensors).to(device),
        load_perceptual("alex", files["lpips_alex"].tensors).to(device),
        {name: file.features for name, file in files.items()},
        {file.features: file.sha256 for file in files.values()},
    )


@dataclass(frozen=True)
class Network:
    """One network's tensors, how results name it and its weights' route, and its file's digest."""

    tensors: dict[str, Tensor]
    features: str
    sha256: str


def read_network(folder: Path, name: str) -> Network:
    """What the weights step wrote as `name`. Raises DataError for a file that is damaged, OSError
    for one that is missing.
    """
    record = read_record(folder, name)
    file = folder / f"{name}.safetensors"
    check_sum(file, record.sha256)
    return Network(load_file(file), record.features, record.sha256)
