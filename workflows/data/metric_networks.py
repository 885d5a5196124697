"""The metric networks, from the files that the weights step wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from workflows.data.records import WeightsRecord
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

    inception, inception_record = read_network(folder, "inception")
    vgg, vgg_record = read_network(folder, "lpips_vgg")
    alex, alex_record = read_network(folder, "lpips_alex")
    records = (inception_record, vgg_record, alex_record)
    return Networks(
        load_inception(inception).to(device),
        load_perceptual("vgg", vgg).to(device),
        load_perceptual("alex", alex).to(device),
        {record.network: record.features for record in records},
        {record.features: record.sha256 for record in records},
    )


def read_network(folder: Path, name: str) -> tuple[dict[str, Tensor], WeightsRecord]:
    """The tensors that the weights step wrote as `name`, and their record.

    Raises DataError for a file that is damaged, OSError for one that is missing.
    """
    record = read_record(folder, name)
    file = folder / f"{name}.safetensors"
    check_sum(file, record.sha256)
    return load_file(file), record
