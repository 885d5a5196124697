"""Precision and recall against closed forms and a plain restatement."""

from __future__ import annotations

import numpy as np
import pytest

from workflows.metrics import manifold
from workflows.metrics.manifold import coverage, nearest


def plain(points: np.ndarray, among: np.ndarray, k: int) -> float:
    hits = 0
    radii = [np.sort(np.linalg.norm(among - one, axis=1))[k] for one in among]
    for point in points:
        distances = np.linalg.norm(among - point, axis=1)
        hits += any(d <= r for d, r in zip(distances, radii, strict=True))
    return hits / len(points)


def test_same_sets_cover_each_other_and_distant_ones_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert coverage(points, points) == (1.0, 1.0)
    assert coverage(points, points + 1000) == (0.0, 0.0)


@pytest.mark.parametrize("memory", [0.001, 256])
def test_equals_a_plain_restatement(monkeypatch: pytest.MonkeyPatch, memory: float) -> None:
    monkeypatch.setattr(manifold, "MEMORY", memory)
    rng = np.random.default_rng(1)
    real, made = rng.normal(size=(60, 3)), rng.normal(size=(45, 3)) * 1.5
    precision, recall = coverage(real, made)
    assert precision == pytest.approx(plain(made, real, 3))
    assert recall == pytest.approx(plain(real, made, 3))
    assert 0 < precision < 1


def test_nearest_come_first() -> None:
    among = np.array([[0.0], [10.0], [4.0], [5.0]])
    assert nearest(np.array([[5.2], [0.1]]), among, 2).tolist() == [[3, 2], [0, 2]]
