"""The metric networks, and the packages they restate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.evaluation import fid_network, lpips_network
from workflows.data.metric_networks import Networks, load_networks, read_inception, read_lpips


@pytest.fixture(scope="session")
def networks() -> Networks:
    return load_networks()


@pytest.fixture(scope="session")
def package_lpips() -> Callable[[str], torch.nn.Module]:
    return lambda net: lpips_network(net, read_lpips(net))


@pytest.fixture(scope="session")
def package_inception() -> torch.nn.Module:
    return fid_network(read_inception())
