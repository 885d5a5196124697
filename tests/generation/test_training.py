"""Training a diffusion model: the draws, what is resumed, and that it learns."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.generation.conftest import Made, diffusion_spec, evaluation_of, trained
from tests.steps.conftest import Command, python
from tests.steps.conftest import command as command
from workflows.config.datasets import read_dataset
from workflows.config.plan import PlannedEvaluation
from workflows.data.cache import prepare
from workflows.errors import ConfigError, DataError
from workflows.steps import latents, sample, train_generator
from workflows.steps.train_generator import read_frozen_of
from workflows.training import stage2 as diffusion_training
from workflows.training.spaces import digest, load_trained, read_latents
from workflows.training.tensor_files import CheckpointError, read_tensors, save_tensors

pytestmark = pytest.mark.slow


def test_latents_have_unit_variance_and_say_what_they_are_of(made: Made) -> None:
    found = read_latents(made.latents, {"model": digest(made.stage1 / "model.safetensors")})
    assert found.points.shape == (3600, 8, 7, 7)
    assert found.points.std(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_training_leaves_a_record(made: Made, tmp_path: Path) -> None:
    trained(made, tmp_path, conditional=True, label_dropout=0.2)
    record = json.loads((tmp_path / "train.json").read_text())
    assert record["status"] == "finished"
    assert (record["epochs"], record["steps"], record["images"]) == (3, 12, 100)
    assert record["first_stage"] == digest(made.stage1 / "model.safetensors")
    assert (record["classes"], record["shape"]) == (10, [8, 7, 7])
    assert (record["versions"], record["progress_samples"]) == ({"method": 3}, 5)
    log = pd.read_csv(tmp_path / "log.csv")
    assert list(log["step"]) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    kept = load_file(tmp_path / "progress.safetensors")
    assert {name: value.shape for name, value in kept.items()} == {
        f"{epoch:06d}": (5, 8, 7, 7) for epoch in (1, 2, 3)
    }
    # Whoever started it may lose the outputs before it takes them for good: they are made again.
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    for name in before:
        (tmp_path / name).unlink()
    trained(made, tmp_path, conditional=True, label_dropout=0.2)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


@pytest.mark.parametrize(
    ("method", "epoch"),
    [("ldm", 1), ("ddpm", 2), ("autoregressive", 1), ("stylegan2", 2), ("projected_gan", 1)],
)
def test_a_resumed_training_is_the_same_training(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, epoch: int
) -> None:
    few = {"train_images": 16, "batch_size": 8} if method == "projected_gan" else {}
    straight = trained(made, tmp_path / "straight", method=method, **few)
    whole = diffusion_training.train_epoch

    def dying(*arguments: Any) -> Any:
        if arguments[3] == epoch:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(diffusion_training, "train_epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        trained(made, tmp_path / "resumed", method=method, **few)
    monkeypatch.undo()
    resumed = trained(made, tmp_path / "resumed", method=method, **few)
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())
    kept = [load_file(tmp_path / n / "progress.safetensors") for n in ("straight", "resumed")]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(value, kept[1][name]) for name, value in kept[0].items())
    # A network that was part of the loss is named.
    features = json.loads((tmp_path / "resumed" / "train.json").read_text())["features"]
    assert list(features) == list(read_frozen_of(diffusion_spec(method).knobs)[1])


def test_the_average_is_what_is_kept(made: Made, tmp_path: Path) -> None:
    """With no memory the average is the model; with a long one it lags behind."""
    quick = trained(made, tmp_path / "a", ema_decay=0.0)
    slow = trained(made, tmp_path / "b", ema_decay=0.9999)
    name = "network.conv_in.weight"
    assert not torch.equal(quick[name], slow[name])


def test_divergence_keeps_the_last_whole_epoch(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = diffusion_training.train_step

    def spoilt(*arguments: Any) -> Any:
        return real(*arguments) * (1.0 if arguments[-1] <= 10 else torch.nan)

    whole = trained(made, tmp_path / "whole", epochs=2)
    monkeypatch.setattr(diffusion_training, "train_step", spoilt)
    kept = trained(made, tmp_path / "cell", epochs=4)
    record = json.loads((tmp_path / "cell" / "train.json").read_text())
    assert (record["status"], record["epochs"], record["steps"]) == ("diverged", 2, 8)
    assert "the loss became nan in epoch 3" in record["message"]
    assert all(torch.equal(value, kept[name]) for name, value in whole.items())
    # It has no samples, and whoever asks for them is told so by files as all others have.
    sample.run(tmp_path / "cell", made.data, evaluation_of(), made.stage1, made.latents)
    assert json.loads((tmp_path / "cell" / "sampling.json").read_text())["status"] == "diverged"
    assert len(np.load(tmp_path / "cell" / "samples.npy")) == 0


def test_samples_are_made_once_until_they_are_measured(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where sampling is interrupted, or its files are lost before they are measured."""
    cell, whole = tmp_path / "cell", tmp_path / "whole"
    trained(made, cell, conditional=True)
    shutil.copytree(cell, whole)
    monkeypatch.setattr(sample, "PART", 3)
    begun: list[int] = []
    real = sample.sample_points

    def dying(*arguments: Any) -> Any:
        begun.append(arguments[4][0])
        if begun == [0, 3, 6]:
            raise KeyboardInterrupt
        return real(*arguments)

    def run(folder: Path, **sampling: Any) -> dict[str, bytes]:
        sample.run(folder, made.data, evaluation_of(**sampling), made.stage1, made.latents)
        return {n: (folder / f"{n}.npy").read_bytes() for n in ("samples", "progress", "noise")}

    expected = run(whole)
    monkeypatch.setattr(sample, "sample_points", dying)
    with pytest.raises(KeyboardInterrupt):
        run(cell)
    assert run(cell) == expected
    # The third part was begun twice, the first two once.
    assert begun == [0, 3, 6, 6]
    assert np.load(cell / "samples.npy").shape == (8, 1, 28, 28)
    assert np.load(cell / "progress.npy").shape == (3, 5, 1, 28, 28)
    first = json.loads((cell / "sampling.json").read_text())
    assert {"versions", "commit", "dirty", "device", "lock_sha256", "threads"} < first.keys()
    # Snakemake deletes a job's files before the job runs again.
    for name in ("samples.npy", "progress.npy", "noise.npy", "sampling.json"):
        (cell / name).unlink()
    assert run(cell) == expected
    assert begun == [0, 3, 6, 6]
    assert json.loads((cell / "sampling.json").read_text()) == first
    # Other settings take nothing over.
    begun.clear()
    begun.append(-1)
    assert run(cell, eta=0.0)["samples"] != expected["samples"]
    assert begun == [-1, 0, 3, 6]


def test_codes_are_those_of_the_images_and_a_prior_says_how_many_bits_they_take(
    made: Made, tmp_path: Path
) -> None:
    found = read_latents(made.codes, {"model": digest(made.stage1 / "model.safetensors")})
    assert (found.points.shape, found.scale) == ((3600, 1, 7, 7), 1.0)
    first = load_trained(made.stage1)
    images = torch.from_numpy(np.load(made.data / "train.npy")[:3]).float() / 127.5 - 1
    codes = first.model.quantise(images).codes  # type: ignore[operator]
    assert np.array_equal(found.points[:3, 0], codes.numpy())

    trained(made, tmp_path, method="autoregressive", conditional=True)
    wanted = {"samples": 8, "temperature": 1.0}
    evaluation = PlannedEvaluation(
        protocols=["samples"], versions={}, sampling=wanted, sampling_versions={"sampling": 1}
    )
    sample.run(tmp_path, made.data, evaluation, made.stage1, made.codes)
    sampled = json.loads((tmp_path / "sampling.json").read_text())
    # The 400 images for validation. Three epochs over 100 images are better than any code as likely
    # as any other, and far from certain.
    assert sampled["coded_images"] == 400
    assert 1 < sampled["bits"] < math.log2(first.codes)
    assert np.load(tmp_path / "samples.npy").shape == (8, 1, 28, 28)
    # Noise is random codes, decoded.
    assert np.load(tmp_path / "noise.npy").std() > 0


def test_first_stages_that_do_not_fit_are_refused(made: Made, tmp_path: Path) -> None:
    prepare(read_dataset("photo_patches"), tmp_path / "photo_patches")
    with pytest.raises(CheckpointError, match=r"dataset_sha256: is .*must be .*; train this cell"):
        latents.run(made.stage1, tmp_path / "photo_patches", tmp_path / "l")
    with pytest.raises(CheckpointError, match=r"dataset is .*must be"):
        train_generator.run(
            diffusion_spec(), tmp_path / "photo_patches", tmp_path / "o", made.stage1, made.latents
        )
    spec = diffusion_spec(method="ddpm", conditional=True)
    with pytest.raises(DataError, match="photo_patches has no classes"):
        train_generator.run(spec, tmp_path / "photo_patches", tmp_path / "o")
    with pytest.raises(ConfigError, match="--latents: needed by a model of latents or codes"):
        train_generator.run(diffusion_spec(), made.data, tmp_path / "o")
    record = json.loads((made.stage1 / "train.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes((made.stage1 / "model.safetensors").read_bytes())
    (broken / "train.json").write_text(json.dumps({**record, "status": "diverged"}))
    with pytest.raises(CheckpointError, match="this first stage diverged"):
        latents.run(broken, made.data, tmp_path / "l")


def test_a_diffusion_model_of_another_first_stage_is_not_sampled(
    made: Made, tmp_path: Path
) -> None:
    trained(made, tmp_path / "cell")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("train.json", "model.safetensors"):
        (other / name).write_bytes((made.stage1 / name).read_bytes())
    tensors, about = read_tensors(other / "model.safetensors")
    save_tensors(other / "model.safetensors", {n: v + 1 for n, v in tensors.items()}, about)
    with pytest.raises(CheckpointError, match=r"not the first stage that .* was trained on"):
        sample.run(tmp_path / "cell", made.data, evaluation_of(), other, made.latents)


def test_two_processes_train_as_one_does(made: Made, command: Command, tmp_path: Path) -> None:
    """Each takes its part of a batch, and the batch is the same; 15 images are 8 and 7, and the
    last one has an image for one of them alone.
    """
    spec = diffusion_spec(train_images=31, batch_size=15, conditional=True).model_dump_json()
    stage1 = ["--stage1", made.stage1, "--latents", made.latents]
    options = ["--spec", spec, "--data", made.data, *stage1]
    command("train_generator", *options, "--out", tmp_path / "1")
    # What starts others is a process of its own.
    step = ["-m", "workflows.steps.train_generator"]
    done = python(*step, *options, "--out", tmp_path / "2", "--processes", 2)
    assert done.returncode == 0, done.stderr
    weights = {}
    for processes in (1, 2):
        weights[processes] = load_file(tmp_path / str(processes) / "model.safetensors")
        record = json.loads((tmp_path / str(processes) / "train.json").read_text())
        assert (record["processes"], record["steps"]) == (processes, 9)
    # Adam makes a step of any gradient, and a few are zero but for rounding: those weights may be
    # half of one of its nine steps apart. All others decide the mean: a learning rate of 1 % more
    # gives 4e-5 here, and other batches 3e-3.
    apart = [(value - weights[2][name]).double().flatten() for name, value in weights[1].items()]
    assert torch.cat(apart).abs().max() < 5e-4
    assert torch.cat(apart).square().mean().sqrt() < 1e-5
    logs = [pd.read_csv(tmp_path / n / "log.csv")["loss"] for n in ("1", "2")]
    assert logs[0].to_numpy() == pytest.approx(logs[1].to_numpy(), rel=1e-4)
