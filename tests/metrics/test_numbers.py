"""Pixel metrics, Fréchet and kernel distances, usage and perplexity against other sources."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from pytorch_fid.fid_score import calculate_frechet_distance

from workflows.evaluation.protocol import load_protocol
from workflows.metrics.frechet import frechet_distance, kernel_deviation, kernel_distance


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 64), (200, 150, 16), (20, 90, 32)])
def test_frechet_distance_equals_pytorch_fid(
    n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.metrics.frechet.BLOCK", 11)
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(d, d))
    a, b = rng.normal(size=(n, d)) @ mixing, rng.normal(0.3, 1.2, size=(m, d)) @ mixing
    moments = [f(x) for x in (a, b) for f in (lambda x: x.mean(0), lambda x: np.cov(x.T))]
    expected = calculate_frechet_distance(*moments)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("block", [1, 32, 1024])
def test_kernel_distance_in_blocks_equals_the_whole_matrices(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    a = np.abs(rng.normal(size=(63, 24))).astype(np.float32)
    b = np.abs(rng.normal(0.2, 1, size=(130, 24))).astype(np.float32)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x.astype(np.float64) @ y.astype(np.float64).T / 24 + 1) ** 3

    own = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b))]
    expected = own[0] + own[1] - 2 * kernel(a, b).mean()
    monkeypatch.setattr("workflows.metrics.frechet.BLOCK", block)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_kernel_deviation_is_how_far_kernel_distances_of_draws_are_apart() -> None:
    """Held against many draws of samples from one distribution."""
    rng = np.random.default_rng(5)
    real = rng.normal(size=(200, 8))
    draws = [rng.normal(0.3, 1, size=(100, 8)) for _ in range(60)]
    apart = np.std([kernel_distance(real, draw) for draw in draws], ddof=1)
    said = np.mean([kernel_deviation(real, draw) for draw in draws])
    assert said == pytest.approx(apart, rel=0.35)


def test_kernel_distance_takes_little_memory() -> None:
    """At this size the matrices of the whole formula would take 200 MB each."""
    features = np.random.default_rng(4).random((5000, 16), dtype=np.float32)
    tracemalloc.start()
    kernel_distance(features, features[::-1])
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 32 * 1024**2


def test_truncation_lowers_the_dark_levels_of_originals() -> None:
    """The float32 round trip of the published code, on all 256 levels."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert load_protocol("exact").originals(levels) is levels
    lost = levels.astype(int) - load_protocol("as_published").originals(levels)
    assert lost.reshape(-1).tolist() == [0] + [1] * 63 + [0] * 192
