"""Load the metric networks from the files that the weights step wrote."""

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
    """features: network -> its name in results. digests: that name -> SHA-256 of its weights."""

    inception: Inception
    lpips_vgg: Perceptual
    lpips_alex: Perceptual
    features: dict[str, str]
    digests: dict[str, str]


def load_networks(folder: Path, device: torch.device | str = "cpu") -> Networks:
    """Load all networks that the weights step wrote. Raises what `read_network` raises."""
    # Steps that only read tensors should not wait for these imports.
    from workflows.metrics.inception import load_inception
    from workflows.metrics.perceptual import load_perceptual

    read = {network: read_network(folder, network) for network in NETWORKS}
    return Networks(
        load_inception(read["inception"][0]).to(device),
        load_perceptual("vgg", read["lpips_vgg"][0]).to(device),
        load_perceptual("alex", read["lpips_alex"][0]).to(device),
        {network: record.features for network, (_, record) in read.items()},
        {record.features: record.sha256 for _, record in read.values()},
    )


def read_network(folder: Path, network: str) -> tuple[dict[str, Tensor], WeightsRecord]:
    """Return the tensors that the weights step wrote for a network, and their record.

    Raises DataError for a file that is damaged, OSError for a file that is missing.
    """
    record = read_record(folder, network)
    file = folder / f"{network}.safetensors"
    check_sum(file, record.sha256)
    return load_file(file), record


def read_frozen(network: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of one of FROZEN, and its name in results -> SHA-256 of its file.

    The file is checked before it is read. Raises DataError for a missing or unexpected file.
    """
    tensors = torch.load(file_of(network), map_location="cpu", weights_only=True)
    return dict(tensors), {FROZEN[network].features: FROZEN[network].sha256}
