"""The metric networks, from the files that the weights step wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from workflows.data.records import WeightsRecord
from workflows.data.weight_sources import FROZEN, NETWORKS, check_sum, file_of, read_record

if TYPE_CHECKING:
    from workflows.metrics.inception import Inception
    from workflows.metrics.perceptual import Perceptual


@dataclass(frozen=True)
class Networks:
    """features: network -> how results name it. digests: that name -> SHA-256 of its weights."""

    inception: Inception
    lpips_vgg: Perceptual
    lpips_alex: Perceptual
    features: dict[str, str]
    digests: dict[str, str]


def load_networks(folder: Path, device: torch.device | str = "cpu") -> Networks:
    """The networks that the weights step wrote. Raises what `read_network` raises."""
    # Whoever reads tensors alone need not wait for these.
    from workflows.metrics.inception import load_inception
    from workflows.metrics.perceptual import load_perceptual

    read = {name: read_network(folder, name) for name in NETWORKS}
    tensors = {name: found for name, (found, _) in read.items()}
    records = [record for _, record in read.values()]
    return Networks(
        load_inception(tensors["inception"]).to(device),
        load_perceptual("vgg", tensors["lpips_vgg"]).to(device),
        load_perceptual("alex", tensors["lpips_alex"]).to(device),
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


def read_frozen(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of one of FROZEN, and the digest of its file by the network's name in results.

    The file is read only once its digest is known to be the expected one. Raises DataError for a
    file that is missing or another.
    """
    tensors = torch.load(file_of(name), map_location="cpu", weights_only=True)
    return dict(tensors), {FROZEN[name].features: FROZEN[name].sha256}
