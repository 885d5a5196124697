"""The metric networks' tensors, read from the installed packages once."""

from __future__ import annotations

import pytest
import torch

from workflows import weights


@pytest.fixture(scope="session")
def tensors() -> dict[str, dict[str, torch.Tensor]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(weights.FOLDER_VARIABLE, raising=False)
        return {network: weights.load_weights(network).tensors for network in weights.NETWORKS}
