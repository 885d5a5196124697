"""The metric networks as the weights step writes them, and the packages they restate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.evaluation import fid_network, lpips_network
from workflows.data.metric_networks import Networks, load_networks, read_network
from workflows.data.weight_sources import NETWORKS


@pytest.fixture(scope="session")
def networks(weights_folder: Path) -> Networks:
    return load_networks(weights_folder)


@pytest.fixture(scope="session")
def tensors(weights_folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {name: read_network(weights_folder, name)[0] for name in NETWORKS}


@pytest.fixture(scope="session")
def package_lpips(tensors) -> Callable[[str], torch.nn.Module]:
    return lambda net: lpips_network(net, tensors[f"lpips_{net}"])


@pytest.fixture(scope="session")
def package_inception(tensors) -> torch.nn.Module:
    return fid_network(tensors["inception"])
