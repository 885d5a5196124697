"""Datasets and weights against their digests, before any training starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.steps.conftest import Refused
from workflows.config.datasets import read_dataset
from workflows.data.cache import prepare
from workflows.data.records import WeightsRecord
from workflows.errors import DataError
from workflows.files import digest
from workflows.steps.check import main


def test_what_was_changed_is_refused_by_name(tmp_path: Path, refused: Refused) -> None:
    dataset, weights, out = tmp_path / "mnist_5k", tmp_path / "weights", tmp_path / "checked.json"
    prepare(read_dataset("mnist_5k"), dataset)
    weights.mkdir()
    network = weights / "net.safetensors"
    network.write_bytes(b"numbers")
    record = WeightsRecord(network="net", features="", sha256=digest(network))
    (weights / "net.json").write_text(record.model_dump_json())
    main([dataset], weights, out)
    sums = json.loads(out.read_text())
    assert {name: set(parts) for name, parts in sums.items()} == {
        "mnist_5k": {"train", "test"},
        "net": {"weights"},
    }
    out.unlink()
    network.write_bytes(b"Numbers")
    with pytest.raises(DataError, match=r"net.safetensors: sha256 is .*, expected .*get it again"):
        main([dataset], weights, out)
    array = dataset / "train.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"\x08")
    line = refused("check", "--datasets", dataset, "--weights", weights, "--out", out)
    assert line.startswith(f"check: {array}: sha256 is not ")
    assert line.endswith("prepare it again")
    assert not out.exists()
