"""The metric networks as the weights step writes them, and the packages they restate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lpips
import pytest
import pytorch_fid.inception
import torch

from workflows.metric_networks import Networks, load_networks, read_network
from workflows.steps import weights as step
from workflows.weights import FOLDER_VARIABLE, NETWORKS


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted from the installed packages."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(FOLDER_VARIABLE, raising=False)
        step.run(folder)
    return folder


@pytest.fixture(scope="session")
def networks(weights_folder: Path) -> Networks:
    return load_networks(weights_folder)


@pytest.fixture(scope="session")
def tensors(weights_folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {name: read_network(weights_folder, name).tensors for name in NETWORKS}


@pytest.fixture(scope="session")
def package_lpips(tensors) -> Callable[[str], torch.nn.Module]:
    """lpips.LPIPS with the heads of its own and our backbone, which it would download."""

    def load(net: str) -> torch.nn.Module:
        theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
        for name, parameter in theirs.net.named_parameters():
            _, index, part = name.split(".")
            parameter.data.copy_(tensors[f"lpips_{net}"][f"features.{index}.{part}"])
        return theirs

    return load


@pytest.fixture(scope="session")
def package_inception(tensors) -> torch.nn.Module:
    """pytorch-fid's network with our tensors, which it would download."""
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    state = {**tensors["inception"], **head}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pytorch_fid.inception, "load_state_dict_from_url", lambda url, progress: state
        )
        return pytorch_fid.inception.InceptionV3().eval()
