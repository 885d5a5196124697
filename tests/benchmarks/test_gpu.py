"""The GPU benchmark, on the processor and tiny: that it runs, not how fast."""

from __future__ import annotations

import pytest

from benchmarks import gpu


@pytest.mark.slow
def test_it_runs_without_a_gpu_and_judges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = list(gpu.rows(cells=2, images=32, epochs=1))
    assert [row.verdict for row in found] == ["not here", "not here"]
    assert all(row.value > 0 for row in found)
