"""The training loop: it learns, and an interrupted training ends with the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines import reinit
from tests.knobs import VARIANTS, changed
from workflows.registry import build_autoencoder, build_objective, loss_weights
from workflows.training.loop import Observers, epochs_done, record_marks, steps_per_epoch
from workflows.training.session import resume
from workflows.training.stage1 import Learner, Losses, Splits, train
from workflows.training.tensor_files import save_tensors


def splits() -> Splits:
    array = np.random.default_rng(0).integers(0, 256, (44, 1, 8, 8), dtype=np.uint8)
    return Splits(array[:36], array[36:])


def losses_of(knobs: Any) -> Losses:
    """What a variant minimises; a plain distance for the perceptual one, and no critic, to which
    these images would be too small.
    """
    objective = build_objective(knobs, 0.08, lambda a, b: (a - b).square().mean(dim=(1, 2, 3)))
    return Losses(objective, loss_weights(knobs, 64))


def start(knobs: Any) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    steps = steps_per_epoch(36, knobs.batch_size) * knobs.epochs
    model = build_autoencoder(knobs, 1, steps).to(memory_format=torch.channels_last)
    return model, torch.optim.Adam(model.parameters(), knobs.learning_rate, fused=True)


def test_a_resumed_training_ends_the_same(
    knobs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `near_codevectors` then moves a codevector between the resumption and the last step.
    monkeypatch.setattr(reinit, "INTERVAL", 8)
    knobs = changed(knobs, epochs=2)
    whole = Learner(*start(knobs), losses_of(knobs))
    uninterrupted: list[dict[str, float]] = []
    train(whole, splits(), knobs, uninterrupted, Observers())

    class Killed(Exception):
        pass

    state = tmp_path / "last.safetensors"
    first = Learner(*start(knobs), losses_of(knobs))

    def save_then_die(history: list[dict[str, float]]) -> None:
        metadata = {"identity": "same", "history": json.dumps(history)}
        save_tensors(state, first.pack(), metadata)
        if epochs_done(history, 5) == 1:
            raise Killed

    with pytest.raises(Killed):
        train(first, splits(), knobs, [], Observers(after_epoch=save_then_die))

    second = Learner(*start(knobs), losses_of(knobs))
    history = resume(state, "same", second.unpack)
    assert epochs_done(history, 5) == 1
    train(second, splits(), knobs, history, Observers())
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for record in (*uninterrupted, *history):
        del record["images_per_second"], record["seconds"]
    assert uninterrupted == history


def test_images_are_uploaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the memory is that torch leaves free after the first epoch."""
    uploads = []

    def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
        uploads.append(array)
        return torch.from_numpy(array) if len(uploads) == 1 else pytest.fail("uploaded again")

    monkeypatch.setattr("workflows.training.stage1.on_device", upload)
    knobs = changed(VARIANTS["vq_vae"], epochs=3)
    train(Learner(*start(knobs), losses_of(knobs)), splits(), knobs, [], Observers())
    assert len(uploads) == 1


def test_training_lowers_the_loss() -> None:
    knobs = changed(VARIANTS["cvq_vae"], epochs=15, learning_rate=5e-4)
    history: list[dict[str, float]] = []
    flat = np.repeat(np.arange(0, 252, 7, dtype=np.uint8), 64).reshape(36, 1, 8, 8)
    learner = Learner(*start(knobs), losses_of(knobs))
    train(learner, Splits(flat, flat[:8]), knobs, history, Observers())
    assert history[-1]["reconstruction"] < 0.5 * history[0]["reconstruction"]
    assert [record["epoch"] for record in history] == list(range(1, 16))
    assert [record["step"] for record in history] == list(range(5, 80, 5))


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"),
    [(100, 500, {100}), (100, 2, {20, 40, 60, 80, 100}), (3, 1, {1, 2, 3}), (59, 10, {59})],
)
def test_short_runs_are_looked_at_several_times_an_epoch(
    steps: int, epochs: int, expected: set[int]
) -> None:
    assert record_marks(steps, epochs) == expected
