"""Where metric weights are looked for, in which order, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch

from workflows.data import weight_sources, weights
from workflows.errors import DataError
from workflows.steps import weights as step


def packaged(network: str) -> Path:
    file = weights.package_file(weights.PACKAGES[network])
    assert file is not None
    return file


def as_published(folder: Path, network: str, tensors: dict[str, torch.Tensor]) -> list[Path]:
    """The tensors in files named and laid out like the canonical ones, with their spare parts."""
    first, *heads = weights.DOWNLOADS[network]
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
    monkeypatch.setattr(weights, "check_sum", lambda file, expected: sha256(file))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def _no_folder_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, *_: object, **__: object) -> str:
        raise OSError(f"asked for {url}")

    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "retrieve", refuse)


@pytest.mark.parametrize("network", weight_sources.NETWORKS)
def test_packages_answer_without_a_server(network: str) -> None:
    loaded = weights.load_weights(network)
    file = packaged(network)
    assert loaded.route == weights.PACKAGES[network].package.replace("_", "-")
    assert loaded.files == [{"name": file.name, "sha256": sha256(file)}]


@pytest.mark.parametrize("network", weight_sources.NETWORKS)
def test_a_folder_goes_before_the_packages(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = weights.load_weights(network).tensors
    nested = tmp_path / "hub" / "checkpoints"
    nested.mkdir(parents=True)
    files = as_published(nested, network, ours)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=rf"{files[0].name}: sha256 is [0-9a-f]{{64}}, expected"):
        weights.load_weights(network)

    trusting(monkeypatch)
    found = weights.load_weights(network)
    assert found.route == "canonical"
    assert found.files == [{"name": file.name, "sha256": sha256(file)} for file in files]
    assert found.tensors.keys() == ours.keys()
    assert all(torch.equal(found.tensors[name], ours[name]) for name in ours)


def test_every_file_must_be_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = "lpips_vgg"
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    trusting(monkeypatch)
    for source in weights.DOWNLOADS[network]:
        missing = rf"{source.name}: no such file \(CODEBOOK_WEIGHTS is set\)"
        with pytest.raises(DataError, match=missing):
            weights.load_weights(network)
        torch.save({}, tmp_path / source.name)
    assert weights.load_weights(network).route == "canonical"

    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere/.*no such file"):
        weights.load_weights(network)


def test_downloads_come_last_with_a_progress_bar(
    server: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    network = "lpips_alex"
    ours = weights.load_weights(network).tensors
    root, base = server
    files = as_published(root, network, ours)
    sources = [weights.Source(sha256(file)[:8], url=f"{base}/{file.name}") for file in files]
    monkeypatch.undo()
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "package_file", lambda source: None)
    monkeypatch.setitem(weights.DOWNLOADS, network, sources)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)

    found = weights.load_weights(network)
    assert found.route == "canonical"
    assert [file["name"] for file in found.files] == [file.name for file in files]
    assert all(torch.equal(found.tensors[name], ours[name]) for name in ours)
    assert "100%" in capfd.readouterr().err

    files[0].unlink()
    assert weights.load_weights(network).files == found.files, "downloaded twice"
    shutil.rmtree(tmp_path / "codebook-benchmark")
    with pytest.raises(DataError, match=rf"{files[0].name}: cannot be downloaded \(404"):
        weights.load_weights(network)


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
        assert record.sha256 == sha256(tmp_path / f"{network}.safetensors")
        assert record.files == [
            {"name": packaged(network).name, "sha256": weights.PACKAGES[network].sha256}
        ]
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
