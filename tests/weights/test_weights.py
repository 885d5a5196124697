"""The metric networks' weights: which files have them, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from workflows.data import metric_networks, weight_sources
from workflows.data.metric_networks import load_networks, read_frozen, read_inception, read_lpips
from workflows.errors import DataError
from workflows.generators import GENERATORS
from workflows.metrics import OF_RECONSTRUCTIONS, OF_SAMPLES
from workflows.registry import OBJECTIVES

READERS = {
    "inception": read_inception,
    "lpips_alex": lambda: read_lpips("alex"),
    "lpips_vgg": lambda: read_lpips("vgg"),
    "efficientnet_lite0": lambda: read_frozen("efficientnet_lite0"),
}


def test_every_source_has_a_reader() -> None:
    assert READERS.keys() == weight_sources.SOURCES.keys()


def test_other_weights_need_other_versions() -> None:
    """Records are not compared with these digests, so who changes one raises versions as well."""
    files = {name: source.sha256[:8] for name, source in weight_sources.SOURCES.items()}
    assert files == {
        "inception": "7ff4a85c",
        "lpips_alex": "443c5bc3",
        "lpips_vgg": "2ecbe4ce",
        "efficientnet_lite0": "57934424",
    }
    of_inception = {OF_RECONSTRUCTIONS["rFID"], OF_RECONSTRUCTIONS["KID"], *OF_SAMPLES.values()}
    of_lpips = [OF_RECONSTRUCTIONS[metric] for metric in ("LPIPS", "LPIPS-Alex")]
    of_losses = [version for name, version in OBJECTIVES.items() if name.startswith("vqgan")]
    assert (of_inception, of_lpips, of_losses) == ({1}, [1, 1], [1, 1])
    assert GENERATORS["projected_gan"].version == 1


@pytest.mark.parametrize("network", READERS)
def test_a_missing_or_other_file_is_not_read(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, place, sha256, _ = weight_sources.SOURCES[network]
    other = tmp_path / Path(place).name
    monkeypatch.setattr(weight_sources, "in_package", lambda *_: other)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was read"))
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("was read"))
    monkeypatch.setattr(metric_networks, "ArraysOnly", lambda *_: pytest.fail("was read"))
    with pytest.raises(DataError, match=f"{package}: {place} is not installed; install {package}"):
        READERS[network]()
    other.write_bytes(b"other")
    message = rf"{other.name}: sha256 is .*, expected {sha256}; install {package} of requirements"
    with pytest.raises(DataError, match=message):
        READERS[network]()


def test_the_networks_that_measure_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_sources, "in_package", lambda *_: tmp_path / "missing")
    with pytest.raises(DataError, match="is not installed"):
        load_networks()


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return (Path.touch, (self.mark,))


def test_a_hostile_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, file = tmp_path / "ran", tmp_path / "hostile.ckpt"
    monkeypatch.setattr(metric_networks, "file_of", lambda _: file)
    file.write_bytes(pickle.dumps({"AlexNet_0": Hostile(mark), "array": np.zeros(2)}))
    with pytest.raises(DataError, match="not allowed"):
        read_lpips("alex")
    torch.save({"array": torch.zeros(2), "other": Hostile(mark)}, file)
    with pytest.raises(DataError, match=r"hostile\.ckpt: refused: Weights only load failed"):
        read_frozen("efficientnet_lite0")
    assert not mark.exists()
