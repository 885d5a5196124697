"""The metric networks and their weights, against the packages they come from."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import lpips
import numpy as np
import pytest
import pytorch_fid.inception
import torch
import torch.nn.functional as F
from skimage import data

from workflows import weights
from workflows.metrics.inception import load_inception
from workflows.metrics.perceptual import load_perceptual


def photographs(n: int, size: int) -> torch.Tensor:
    """Crops of a photograph, (n, 3, size, size) in [0, 1]."""
    picture = torch.tensor(data.astronaut()).permute(2, 0, 1).float() / 255
    return torch.stack([picture[:, i * 40 : i * 40 + size, 150 : 150 + size] for i in range(n)])


@pytest.fixture(scope="module")
def tensors() -> dict[str, dict[str, torch.Tensor]]:
    return {network: weights.load_weights(network)[0] for network in weights.NETWORKS}


def test_inception_equals_the_torchscript_original(tensors) -> None:
    file = weights.package_file(weights.PACKAGES["inception"])
    x = photographs(2, 64)
    resized = F.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        expected = torch.jit.load(file).eval()(2 * resized - 1)
        found = load_inception(tensors["inception"])(x)
    assert (found - expected).norm() / expected.norm() < 1e-3


def test_inception_equals_pytorch_fid(tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    state = {**tensors["inception"], **head}
    monkeypatch.setattr(
        pytorch_fid.inception, "load_state_dict_from_url", lambda url, progress: state
    )
    x = photographs(2, 32)
    with torch.inference_mode():
        expected = pytorch_fid.inception.InceptionV3().eval()(x)[0].flatten(1)
        found = load_inception(tensors["inception"])(x)
    assert (found - expected).norm() / expected.norm() < 1e-4


@pytest.mark.parametrize(("net", "size"), [("alex", 32), ("vgg", 32), ("vgg", 28)])
def test_lpips_equals_the_package(tensors, net: str, size: int) -> None:
    state = tensors[f"lpips_{net}"]
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    for name, parameter in theirs.net.named_parameters():
        _, index, part = name.split(".")
        parameter.data.copy_(state[f"features.{index}.{part}"])
    a = photographs(3, size) * 2 - 1
    b = (a + 0.2 * torch.randn(a.shape)).clamp(-1, 1)
    with torch.inference_mode():
        found = load_perceptual(net, state)(a, b)
        torch.testing.assert_close(found, theirs(a, b).flatten(), rtol=1e-4, atol=1e-6)
        assert load_perceptual(net, state)(a, a).abs().max() == 0


@pytest.mark.parametrize("network", weights.NETWORKS)
def test_canonical_files_give_the_same_tensors(
    tensors, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tensors[network]
    first, *heads = weights.DOWNLOADS[network]
    backbone = {n: v for n, v in ours.items() if not n.startswith("lin")}
    backbone["fc.weight" if network == "inception" else "classifier.1.weight"] = torch.zeros(2)
    parts = [(first, backbone)]
    lin = {n.replace(".weight", ".model.1.weight"): v for n, v in ours.items() if n[:3] == "lin"}
    parts += [(head, lin) for head in heads]
    for source, content in parts:
        torch.save(content, tmp_path / source.url.rsplit("/", 1)[1])
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(weights, "package_file", lambda source: None)
    with pytest.raises(weights.WeightsError, match=r"sha256 is [0-9a-f]{64}, expected"):
        weights.load_weights(network)
    monkeypatch.setattr(weights, "check_sum", lambda file, expected: None)
    found, route = weights.load_weights(network)
    assert route == "canonical"
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[name], ours[name]) for name in ours)


def test_changed_and_missing_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = weights.PACKAGES["lpips_alex"]
    file = tmp_path / "alexnet.ckpt"
    shutil.copy(weights.package_file(source), file)
    weights.check_sum(file, source.sha256)
    with file.open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(weights.WeightsError, match=f"{file.name}.*expected {source.sha256}"):
        weights.check_sum(file, source.sha256)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(weights.WeightsError, match="no such file"):
        weights.canonical_file(weights.DOWNLOADS["inception"][0])


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_hostile_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "ran", tmp_path / "hostile.ckpt"
    file.write_bytes(pickle.dumps({"AlexNet_0": Hostile(mark), "array": np.zeros(2)}))
    with pytest.raises(weights.WeightsError, match="not admitted"):
        weights.read_checkpoint(file, "lpips_alex")
    torch.save({"weight": Hostile(mark)}, file)
    with pytest.raises(weights.WeightsError, match="refused"):
        weights.read_pth(file, "")
    assert not mark.exists()
