"""What a training will take is known before it starts."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from workflows import probe
from workflows.probe import Estimate, estimate, refuse_beyond
from workflows.schema import ConfigError

CPU = torch.device("cpu")


def test_memory_and_time_follow_from_one_batch() -> None:
    layers = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 1))

    def step(count: int) -> torch.Tensor:
        time.sleep(0.05)
        return layers(torch.ones(count, 100)).mean()

    found = estimate(step, [layers], 400, 86400, averaged=True)
    size = 100 * 1000 + 1000 + 1000 + 1
    assert found.parameters == size
    # Weights, gradients, two moments, an average.
    assert found.state == 5 * 4 * size
    # Of each image its input and what the hidden layer gave, after the ReLU that replaces it.
    assert found.activations == pytest.approx(400 * 4 * (100 + 1000), rel=0.02)
    # Four images in a twentieth of a second.
    assert 40 < found.pace <= 80
    assert 0.012 < found.days < 0.025
    assert all(parameter.grad is None for parameter in layers.parameters())


def test_what_does_not_fit_is_refused_by_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "free_memory", lambda device: 8 * 2**30)
    monkeypatch.delenv(probe.VARIABLE, raising=False)
    small = Estimate(10**6, 2**30, 2**30, 100.0, 10**6)
    refuse_beyond(small, CPU, "batch_size")
    with pytest.raises(ConfigError, match=r"needs 11.0 GiB, cpu has 8.0 free; lower batch_size"):
        refuse_beyond(Estimate(1, 2**30, 10 * 2**30, 100.0, 1), CPU, "batch_size")
    long = Estimate(1, 1, 1, 1.0, 86400 * 200)
    with pytest.raises(ConfigError, match=r"200.0 days here, more than CODEBOOK_DAYS=7; lower epo"):
        refuse_beyond(long, CPU, "batch_size")
    monkeypatch.setenv(probe.VARIABLE, "300")
    refuse_beyond(long, CPU, "batch_size")
    assert "200.0 days" in str(long)
    assert "1.0 million parameters, 2.0 GiB (1.0 of them for a batch), 100.0 images/s" in str(small)


@pytest.mark.parametrize("given", ["soon", "-1", "0", "nan", ""])
def test_days_that_are_none_are_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(probe.VARIABLE, given)
    with pytest.raises(ConfigError, match=f"CODEBOOK_DAYS: .* above 0, got '{given}'"):
        probe.allowed_days()


def test_a_machine_has_memory() -> None:
    assert probe.free_memory(CPU) > 2**28
