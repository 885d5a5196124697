"""States and models on disk: checksums, interrupted writes, and what is said of damage."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from workflows.config.records import TrainRecord
from workflows.files import digest, write_atomically
from workflows.training import tensor_files
from workflows.training.session import resume
from workflows.training.spaces import load_model
from workflows.training.tensor_files import CheckpointError, read_tensors, save_tensors

SHARED = torch.arange(600.0).view(20, 30)
TENSORS = {
    "weight": SHARED,
    "transposed": SHARED.T,
    "steps": torch.tensor(7),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "none": torch.zeros(0, 4),
}


def state_after(folder: Path, epoch: int) -> Path:
    state = folder / "last.safetensors"
    metadata = {"identity": "this", "history": json.dumps([{"epoch": epoch}])}
    save_tensors(state, TENSORS, metadata)
    return state


def epochs_of(state: Path) -> list[float]:
    return [record["epoch"] for record in resume(state, "this", lambda tensors: None)]


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << random.Random(at).randrange(8)
    file.write_bytes(content)


def cut(file: Path, at: int) -> None:
    file.write_bytes(file.read_bytes()[:at])


def test_equal_content_is_equal_bytes_and_read_as_written(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(8)]
    metadata = {"cell": "a", "of": "b", "scale": "c"}
    for file in files:
        save_tensors(file, TENSORS, metadata)
    assert len({digest(file) for file in files}) == 1
    tensors, read_metadata = read_tensors(files[0])
    assert read_metadata == metadata
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


@pytest.mark.parametrize("damage", [flip, cut])
def test_damage_anywhere_is_noticed(tmp_path: Path, damage: Callable[[Path, int], None]) -> None:
    file = tmp_path / "file"
    save_tensors(file, TENSORS, {"cell": "a"})
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    # In the header a changed space may leave what the file says as it was, and only that.
    for at in random.Random(0).sample(range(len(whole)), 100):
        file.write_bytes(whole)
        damage(file, at)
        if at >= header or damage is cut:
            with pytest.raises(CheckpointError, match=f"{file}: damaged"):
                read_tensors(file)
            continue
        with suppress(CheckpointError):
            tensors, metadata = read_tensors(file)
            assert metadata == {"cell": "a"}
            assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


def test_a_state_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take(tensors: object) -> None:
        raise KeyError("model.weight")

    state = state_after(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"\('model.weight'\); delete it to start anew"):
        resume(state, "this", take)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert resume(state, "other", take) == []
    # Only the main process prints.
    assert capsys.readouterr().out.count("starting anew") == 1
    flip(state, state.stat().st_size - 5)
    with pytest.raises(CheckpointError, match=r"damaged .*; delete it to start anew"):
        resume(state, "this", take)


@pytest.mark.parametrize(
    ("place", "moment"), [(tensor_files, "save_file"), (os, "fsync"), (Path, "replace")]
)
def test_an_interruption_while_a_state_is_written_leaves_the_one_before(
    tmp_path: Path, place: Any, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_after(tmp_path, 1)

    def interrupt(*arguments: Any, **_: object) -> None:
        if moment == "save_file":
            arguments[1].write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(place, moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            state_after(tmp_path, 2)
    assert epochs_of(state) == [1]
    assert [file.name for file in tmp_path.iterdir()] == [state.name]
    assert epochs_of(state_after(tmp_path, 2)) == [2]


def test_a_model_is_held_against_its_record(tmp_path: Path) -> None:
    file, model = tmp_path / "model.safetensors", torch.nn.Linear(2, 2)
    save_tensors(file, model.state_dict(), {"cell": "a"})
    record = TrainRecord.model_construct(model_sha256=digest(file), cell="own/vq_vae/default/seed0")
    command = "train this cell again with --config retrain=own/vq_vae/default/seed0"
    other = torch.nn.Linear(2, 2)
    load_model(file, record, other)
    assert torch.equal(other.weight, model.weight)
    unproven = record.model_copy(update={"model_sha256": None})
    for recorded, model in ((record, torch.nn.Linear(3, 2)), (unproven, other)):
        with pytest.raises(CheckpointError, match=r"model\.safetensors: not this cell's model"):
            load_model(file, recorded, model)
    save_tensors(file, torch.nn.Linear(2, 2).state_dict(), {"cell": "a"})
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*damaged.*; {command}$"):
        load_model(file, record, other)


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("whole")
    said = rf"{tmp_path}/file: could not be written \(.*No space left on device\); .* run again"
    with pytest.raises(OSError, match=said):
        write_atomically(tmp_path / "file", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "whole"
