"""Measurements with the real networks on a few real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from workflows.config.datasets import read_dataset
from workflows.config.lines import Metric, read_csv
from workflows.data import cache
from workflows.data.metric_networks import Networks
from workflows.data.weight_sources import SOURCES
from workflows.evaluation import reconstructions
from workflows.evaluation.protocol import Protocol, load_protocol
from workflows.evaluation.reconstructions import COLUMNS, Measurement, inception_features
from workflows.metrics import FEWEST_PIXELS, OF_RECONSTRUCTIONS
from workflows.render.numbers import formatted

pytestmark = pytest.mark.slow

EXACT = load_protocol("exact")
PUBLISHED = load_protocol("as_published")
PHOTOS, DIGITS = "photo_patches", "mnist_5k"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Six test images of each embedded dataset, uint8: 3 x 32 x 32 and 1 x 28 x 28."""
    root = tmp_path_factory.mktemp("datasets")
    for name in (PHOTOS, DIGITS):
        cache.prepare(read_dataset(name), root / name)
    return {name: np.array(cache.load_test(root / name)[0][:6]) for name in (PHOTOS, DIGITS)}


@pytest.fixture(scope="module")
def rows_of(pictures: dict[str, np.ndarray], networks: Networks) -> Callable[..., pd.DataFrame]:
    """Rows of a dataset's reconstructions; the reference features are computed once."""
    known: dict[tuple[str, str], np.ndarray] = {}

    def rows(
        name: str,
        made: np.ndarray,
        protocol: Protocol = EXACT,
        fid_images: int | None = None,
        lpips_images: int | None = None,
    ) -> pd.DataFrame:
        images = pictures[name]
        key = (name, protocol.name)
        if key not in known:
            stored = protocol.store(protocol.originals(images))
            known[key] = inception_features(stored, protocol, networks.inception)
        limits = (fid_images, lpips_images)
        measured = Measurement(protocol, networks, known[key], *limits)
        measured.add(images, made)
        return pd.DataFrame(measured.rows())

    return rows


def values(rows: pd.DataFrame) -> dict[str, float]:
    return dict(zip(rows["metric"], rows["value"], strict=True))


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(images / 255 + noise, 0, 1).astype(np.float32)


def test_equal_pictures_are_at_no_distance(pictures, rows_of) -> None:
    found = values(rows_of(PHOTOS, pictures[PHOTOS].astype(np.float32) / 255))
    assert found["l1"] == 0
    assert found["PSNR"] == np.inf
    assert found["SSIM"] == pytest.approx(1)
    assert found["LPIPS"] == found["LPIPS-Alex"] == 0
    assert found["rFID"] == pytest.approx(0, abs=1e-3)
    # Unbiased, so it is below zero where the two sets are closer than two samples would be.
    assert found["KID"] <= 0


@pytest.mark.parametrize("protocol", [EXACT, PUBLISHED], ids=lambda p: p.name)
@pytest.mark.parametrize("name", [PHOTOS, DIGITS])
def test_rows_say_what_they_rest_on(pictures, rows_of, name: str, protocol: Protocol) -> None:
    rows = rows_of(name, noisy(pictures[name], 0.05), protocol, fid_images=4, lpips_images=3)
    assert list(rows.columns) == COLUMNS
    assert set(rows["protocol"]) == {protocol.name}
    vgg, alex, inception = (
        SOURCES[network].features for network in ("lpips_vgg", "lpips_alex", "inception")
    )
    expected = [
        ("l1", 6, ""),
        ("PSNR", 6, ""),
        ("SSIM", 6, ""),
        ("LPIPS", 3, vgg),
        ("LPIPS-Alex", 3, alex),
        ("rFID", 4, inception),
        ("KID", 4, inception),
    ]
    if name == DIGITS:  # 28 pixels are too few for AlexNet
        expected.pop(4)
    assert list(rows[["metric", "images", "features"]].itertuples(index=False)) == expected
    assert np.isfinite(rows["value"]).all()
    assert all(label.endswith(", fp32)") for label in (vgg, alex, inception))


def test_numbers_equal_the_libraries_used_as_documented(
    pictures, rows_of, package_lpips, package_inception
) -> None:
    """scikit-image and lpips on 8-bit pictures, pytorch-fid's network and distance on their own."""
    images, made = pictures[PHOTOS], noisy(pictures[PHOTOS], 0.08)
    found = values(rows_of(PHOTOS, made))
    restored = np.rint(made * 255).astype(np.uint8)
    pairs = list(zip(images.transpose(0, 2, 3, 1), restored.transpose(0, 2, 3, 1), strict=True))
    ratios = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs]
    assert found["PSNR"] == pytest.approx(np.mean(ratios), rel=1e-6)
    similarities = [structural_similarity(a, b, win_size=11, channel_axis=2) for a, b in pairs]
    assert found["SSIM"] == pytest.approx(np.mean(similarities), rel=1e-5)
    assert found["l1"] == pytest.approx(np.abs(images / 255.0 - restored / 255.0).mean(), rel=1e-6)

    with torch.inference_mode():
        x, y = (torch.tensor(p).float() / 255 for p in (images, restored))
        for metric, net in (("LPIPS", "vgg"), ("LPIPS-Alex", "alex")):
            distances = package_lpips(net)(x, y, normalize=True)
            assert found[metric] == pytest.approx(distances.mean().item(), rel=1e-4)
        a, b = (package_inception(z)[0].flatten(1).double().numpy() for z in (x, y))
    # The distance does not change in coordinates of the space the 12 features span, where the
    # matrix square root takes milliseconds rather than minutes.
    basis = np.linalg.qr(np.concatenate([a, b]).T)[0]
    moments = [f(z @ basis) for z in (a, b) for f in (lambda z: z.mean(0), lambda z: np.cov(z.T))]
    assert found["rFID"] == pytest.approx(calculate_frechet_distance(*moments), rel=1e-3)


@pytest.mark.parametrize(
    ("side", "metrics"),
    [
        (8, ["l1", "PSNR", "rFID", "KID"]),
        (15, ["l1", "PSNR", "SSIM", "rFID", "KID"]),
        (30, ["l1", "PSNR", "SSIM", "LPIPS", "rFID", "KID"]),
        (31, ["l1", "PSNR", "SSIM", "LPIPS", "LPIPS-Alex", "rFID", "KID"]),
    ],
)
def test_small_images_have_the_metrics_that_they_can(
    pictures, networks: Networks, side: int, metrics: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pixel less than the smallest size fails in the real network, or in the window."""
    images = pictures[PHOTOS][:2, :, :side, :side]
    made, reference = noisy(images, 0.1), np.eye(2, 2048, dtype=np.float32)
    monkeypatch.setattr(reconstructions, "inception_features", lambda stored, *_: reference)
    measured = Measurement(EXACT, networks, reference)
    measured.add(images, made)
    assert [row["metric"] for row in measured.rows()] == metrics
    reasons = measured.not_measured()
    assert reasons.keys() == {*OF_RECONSTRUCTIONS} - {*metrics} - {"usage", "perplexity"}
    for metric, reason in reasons.items():
        assert reason == f"needs images of {FEWEST_PIXELS[metric]} pixels a side, these have {side}"
    monkeypatch.setattr(reconstructions, "FEWEST_PIXELS", dict.fromkeys(FEWEST_PIXELS, 1))
    if reasons and side + 1 in FEWEST_PIXELS.values():
        with pytest.raises(RuntimeError):
            Measurement(EXACT, networks, reference).add(images, made)


def test_an_infinite_ratio_is_written_read_and_printed(pictures, rows_of, tmp_path: Path) -> None:
    """One picture restored exactly is enough for an infinite PSNR, and must not stop the run."""
    made = noisy(pictures[DIGITS], 0.1)
    made[3] = pictures[DIGITS][3] / np.float32(255)
    rows_of(DIGITS, made).to_csv(tmp_path / "metrics.csv", index=False)
    measured = values(read_csv(tmp_path / "metrics.csv", Metric))
    assert formatted("PSNR", measured.pop("PSNR")) == "inf"
    assert np.isfinite(list(measured.values())).all()
