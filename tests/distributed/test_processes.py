"""A training that is divided over processes is the training that one process does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.trainings import CASES, WATCHED, exact, outcome
from tests.generation.conftest import diffusion_spec
from tests.steps.conftest import ROOT, Refused, python, spec_of
from tests.steps.conftest import refused as refused
from workflows import processes, training
from workflows.checkpoint import read_tensors
from workflows.data import prepare
from workflows.processes import ALONE, part_of
from workflows.registry import METHODS, build_autoencoder
from workflows.schema import ConfigError
from workflows.steps import train

COUNT = 4
TIMING = ["images_per_second", "seconds"]
# 16 images in batches of 7, 7 and 2.
SPEC = spec_of(train_images=16, batch_size=7)


@dataclass(frozen=True)
class Made:
    """Folders of the dataset, and of what several processes have left."""

    data: Path
    out: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("distributed")
    found = Made(root / "mnist_5k", root / "out")
    found.out.mkdir()
    prepare("mnist_5k", found.data)
    places = ["--out", found.out, "--data", found.data, "--spec", SPEC]
    done = python("-m", "tests.distributed.ranks", "--count", COUNT, *places)
    assert done.returncode == 0, done.stderr
    # Nobody but the main process reports.
    assert done.stdout.count("epoch 2/2") == 1
    return found


@pytest.fixture(scope="module")
def straight(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same cell, trained by one process."""
    out = tmp_path_factory.mktemp("straight")
    alone(made.data, out, filmed=True)
    return out


def alone(data: Path, out: Path, spec: str = SPEC, **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "WATCHED", WATCHED)
        patch.setattr(train, "WATCHED", WATCHED)
        train.run(json.loads(spec), data, out, threads=1, **options)
    torch.set_flush_denormal(False)


def assert_same_training(one: Path, other: Path) -> None:
    """Up to the order of sums, which Adam makes a part of its step of where a gradient is small."""
    logs = [pd.read_csv(folder / "log.csv").drop(columns=TIMING) for folder in (one, other)]
    pd.testing.assert_frame_equal(*logs, rtol=1e-5)
    models = [load_file(folder / "model.safetensors") for folder in (one, other)]
    assert models[0].keys() == models[1].keys()
    for name, value in models[0].items():
        torch.testing.assert_close(value, models[1][name], rtol=1e-3, atol=2e-5, msg=name)


def test_every_method_is_divided() -> None:
    assert {knobs["method"] for knobs in CASES.values()} == set(METHODS)
    assert {knobs["network"] for knobs in CASES.values() if "network" in knobs} == {"vqgan"}


@pytest.mark.parametrize("name", CASES)
def test_four_processes_train_as_one_does(made: Made, name: str) -> None:
    """Parts of unequal size, and a last batch with fewer images than there are processes."""
    ranks = [load_file(made.out / f"{name}.{rank}.safetensors") for rank in range(COUNT)]
    histories = [
        json.loads((made.out / f"{name}.{rank}.json").read_text()) for rank in range(COUNT)
    ]
    assert all(history == histories[0] for history in histories)
    for other in ranks[1:]:
        assert all(torch.equal(value, other[key]) for key, value in ranks[0].items())
    expected = outcome(CASES[name], ALONE)
    assert expected.tensors.keys() == ranks[0].keys()
    rtol, atol = (1e-9, 1e-12) if exact(CASES[name]) else (1e-4, 1e-6)
    for key, value in expected.tensors.items():
        torch.testing.assert_close(ranks[0][key], value, rtol=rtol, atol=atol, msg=key)
    # Means of losses are summed in single precision.
    for found, wanted in zip(histories[0], expected.history, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)
    assert [record["step"] for record in expected.history] == [1, 2, 3]


def test_the_main_process_is_right(made: Made) -> None:
    for rank in range(COUNT):
        agreed = load_file(made.out / f"agreed.{rank}.safetensors")["weight"]
        assert torch.equal(agreed, torch.zeros(2, 2))


def test_one_process_writes_what_all_have_trained(made: Made, straight: Path) -> None:
    assert_same_training(straight, made.out / "cell")
    records = [json.loads((f / "train.json").read_text()) for f in (straight, made.out / "cell")]
    assert [record.pop("processes") for record in records] == [1, COUNT]
    assert records[0].pop("seconds") != records[1].pop("seconds")
    # Equal up to the order of sums, as is asserted above; not bit for bit.
    for record in records:
        assert record.pop("model_sha256") != record.pop("log_sha256")
    assert records[0] == records[1]
    films = [load_file(f / "film.safetensors") for f in (straight, made.out / "cell")]
    assert films[0].keys() == films[1].keys()
    assert torch.equal(films[0]["step"], films[1]["step"])


def test_one_process_goes_on_with_what_four_began(
    made: Made, straight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = made.out / "cut"
    assert [file.name for file in cut.iterdir()] == ["state"]
    alone(made.data, cut)
    assert "epoch 1/2" not in capsys.readouterr().out
    assert_same_training(straight, cut)
    assert json.loads((cut / "train.json").read_text())["processes"] == 1


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in found]


def until(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["one of them", "their launcher"])
def test_when_a_process_is_killed_all_end_and_the_run_is_resumed(
    made: Made, tmp_path: Path, victim: str
) -> None:
    spec = spec_of(train_images=16, batch_size=7, epochs=40)
    options = ["--spec", spec, "--data", made.data, "--out", tmp_path, "--threads", 1]
    command = [sys.executable, "-m", "workflows.steps.train", *map(str, options)]
    launcher = subprocess.Popen(
        [*command, "--processes", "2"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = tmp_path / "state" / "last.safetensors"
    until(lambda: state.exists() or launcher.poll() is not None)
    ranks = children(launcher.pid)
    assert len(ranks) == 2
    os.kill(ranks[1] if victim == "one of them" else launcher.pid, signal.SIGKILL)
    assert launcher.wait(timeout=120) != 0
    until(lambda: all(map(gone, ranks)))
    assert not (tmp_path / "train.json").exists()
    assert 0 < epochs_behind(state) < 40
    alone(made.data, tmp_path, spec)
    assert json.loads((tmp_path / "train.json").read_text())["epochs"] == 40
    log = pd.read_csv(tmp_path / "log.csv")
    assert list(log["epoch"]) == list(range(1, 41))
    assert np.isfinite(log).all(axis=None)


def epochs_behind(state: Path) -> int:
    return len(json.loads(read_tensors(state)[1]["history"]))


def test_parts_are_the_batch() -> None:
    for images, count in ((7, 4), (8, 4), (2, 4), (1, 3), (5, 1)):
        parts = [part_of(images, rank, count) for rank in range(count)]
        own = [image for part in parts if part.share for image in range(images)[part.rows]]
        assert sorted(own) == list(range(images))
        assert all(len(range(images)[part.rows]) > 0 for part in parts)
        assert sum(part.share for part in parts) == pytest.approx(count)


@pytest.mark.parametrize("step", ["train", "train_diffusion"])
@pytest.mark.parametrize("count", [0, 8])
def test_more_processes_than_images_of_a_batch_are_refused(
    tmp_path: Path, refused: Refused, step: str, count: int
) -> None:
    spec = SPEC if step == "train" else json.dumps(diffusion_spec(batch_size=7))
    options = ["--spec", spec, "--data", tmp_path, "--out", tmp_path, "--processes", count]
    expected = f"--processes: {count}; allowed: 1 to batch_size, which is 7"
    assert refused(step, *options) == f"{step}: {expected}\n"


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="--processes: 3; allowed: 1 to 2, the GPUs of this"):
        processes.ensure(3, 8, "workflows.steps.train", 1)


def test_processes_that_are_started_already_are_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started others"))
    monkeypatch.setattr(processes, "PARENT_GONE", 3)  # asks for nothing
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    for wanted in (1, 4):
        processes.ensure(wanted, 8, "workflows.steps.train", 1)
    with pytest.raises(ConfigError, match="--processes: 3, but 4 were started"):
        processes.ensure(3, 8, "workflows.steps.train", 1)
    with pytest.raises(ConfigError, match="--processes: 4; allowed: 1 to batch_size, which is 3"):
        processes.ensure(1, 3, "workflows.steps.train", 1)


def test_each_of_several_has_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes.device() == torch.device("cuda", 2)


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_has_a_gradient_to_average(name: str) -> None:
    """DistributedDataParallel waits for all of them; what no gradient trains must be a buffer."""
    model = build_autoencoder(CASES[name], 1, 3)
    output = model(torch.rand(2, 1, 24, 24))
    (output.images.sum() + sum(output.quantised.losses.values())).backward()
    missing = [key for key, value in model.named_parameters() if value.grad is None]
    assert missing == []
