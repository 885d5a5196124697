"""The steps' fixtures, for steps that are killed, starved of disk or given damaged files."""

from pathlib import Path

import pytest

from tests.steps.conftest import chain, command, refused
from workflows.config.datasets import read_dataset
from workflows.data.cache import prepare

__all__ = ["chain", "command", "refused"]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded digits, prepared."""
    folder = tmp_path_factory.mktemp("data") / "mnist_5k"
    prepare(read_dataset("mnist_5k"), folder)
    return folder
