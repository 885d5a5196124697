"""Datasets and weights against their digests, before any training starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.steps.conftest import Refused
from workflows.config.datasets import read_dataset
from workflows.data.cache import prepare
from workflows.data.weight_sources import SOURCES
from workflows.errors import DataError
from workflows.steps.check import main


def test_what_was_changed_is_refused_by_name(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, out = tmp_path / "mnist_5k", tmp_path / "checked.json"
    prepare(read_dataset("mnist_5k"), dataset)
    main([dataset], out)
    sums = json.loads(out.read_text())
    assert {name: set(parts) for name, parts in sums.items()} == {
        "mnist_5k": {"train", "test"},
        **{network: {"weights"} for network in SOURCES},
    }
    out.unlink()
    for network, source in SOURCES.items():
        with monkeypatch.context() as patched:
            patched.setitem(SOURCES, network, source._replace(sha256="0" * 64))
            message = rf"{Path(source.place).name}: sha256 is {source.sha256}, expected 0000.*again"
            with pytest.raises(DataError, match=message):
                main([dataset], out)
            patched.setitem(SOURCES, network, source._replace(place="missing.ckpt"))
            with pytest.raises(DataError, match=f"{source.package}: missing.ckpt is not installed"):
                main([dataset], out)
    array = dataset / "train.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"\x08")
    line = refused("check", "--datasets", dataset, "--out", out)
    assert line.startswith(f"check: {array}: sha256 is not ")
    assert line.endswith("prepare it again")
    assert not out.exists()
