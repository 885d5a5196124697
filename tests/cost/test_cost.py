"""What steps take: for people, for a cluster, and for a training before it starts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests import plans
from tests.knobs import DIFFUSION, LARGE, changed, small, typed
from workflows import generators, registry
from workflows.config import cost
from workflows.config.cost import Estimates, Step, Training
from workflows.config.datasets import read_datasets
from workflows.config.plan import Spec
from workflows.errors import ConfigError
from workflows.records import cost as report
from workflows.training.session import Session

KNOBS = small("vq_vae", batch_size=16)
VQGAN = changed(KNOBS, **LARGE)
UNET = typed({**DIFFUSION, "method": "ddpm", "unet_channels": 32, "unet_multipliers": [1, 2],
    "head_channels": 16, "batch_size": 16})  # fmt: skip


@pytest.fixture(scope="module")
def embedded() -> Estimates:
    return Estimates(plans.real("embedded"), read_datasets(), "cpu", {})


def record(folder: Path, seed: int, seconds: float, **changes: Any) -> None:
    """Write train.json of a cell as the train step does, as far as estimates read it."""
    knobs = changed(KNOBS, dataset="cifar10").model_dump()
    content = {
        "status": "finished", "budget": "lite", "cell": "", "dataset_sha256": "", "knobs": knobs,
        "epochs": 2, "images": 12_000, "steps": 1500, "threads": 1, "processes": 1,
        "device": "cpu (AVX512)", "seconds": seconds, **changes,
    }  # fmt: skip
    file = folder / "lite/cells/cifar10/vq_vae/default" / f"seed{seed}" / "train.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def test_seconds_come_from_records_and_else_from_shipped_rates(tmp_path: Path) -> None:
    work = Training(KNOBS, 32, 12_000)
    shipped = cost.estimate(work, "cpu", cost.read_records(tmp_path))
    # lite's 24,000 images took 70 to 120 seconds on a core.
    assert 60 < shipped.seconds < 120
    assert "by shipped rates" in str(shipped)
    for seed, seconds in enumerate((500.0, 300.0, 400.0)):
        record(tmp_path, seed, seconds)
    records = cost.read_records(tmp_path)
    found = cost.estimate(work, "cpu", records)
    assert found.seconds == pytest.approx(400)
    assert str(found).startswith("about 7 minutes by 3 finished trainings, ")
    twice = cost.estimate(replace(work, knobs=changed(KNOBS, epochs=4)), "cpu", records)
    assert twice.seconds == pytest.approx(800)
    # Another method of the network is corrected alike; another network and device are not.
    other = replace(work, knobs=changed(KNOBS, method="cvq_vae"))
    assert cost.estimate(other, "cpu", records).seconds == pytest.approx(400)
    assert cost.estimate(replace(work, knobs=VQGAN), "cpu", records).source == Step.source
    # A GPU is one by torch's name for it too.
    on_gpu = cost.estimate(work, "cuda", records)
    assert (on_gpu.source, on_gpu.seconds) == (Step.source, work.seconds("gpu"))


def test_records_that_say_nothing_about_a_device_are_left_out(tmp_path: Path) -> None:
    record(tmp_path, 0, 100.0, status="diverged")
    record(tmp_path, 1, 100.0, threads=2)
    record(tmp_path, 2, 100.0, processes=4)
    record(tmp_path, 3, 100.0, images="many")
    record(tmp_path, 4, 100.0, knobs={"dataset": "nowhere"})
    damaged = tmp_path / "lite/cells/cifar10/vq_vae/default/seed5"
    damaged.mkdir()
    (damaged / "train.json").write_text("{")
    assert cost.read_records(tmp_path) == {}
    record(tmp_path, 6, 100.0, device="NVIDIA H100")
    record(tmp_path, 7, 59.0)
    assert list(cost.read_records(tmp_path)) == [("gpu", "convnet", "vq_vae")]


def test_shipped_rates_are_near_the_trainings_that_come_with_the_repository(
    tmp_path: Path,
) -> None:
    # Those of this machine's own runs say how fast this machine is.
    (tmp_path / "lite").symlink_to(Path(__file__).parents[2] / "results/lite")
    records = cost.read_records(tmp_path)
    cells = [ratio for found in records.values() for ratio in found]
    assert len(cells) > 100
    near = [0.5 < ratio < 2 for ratio in cells]
    assert sum(near) > 0.9 * len(near)


def kept(modules: list[torch.nn.Module], loss: Any) -> int:
    """Bytes that are kept for the pass backward, without the networks' own weights."""
    own = {p.untyped_storage().data_ptr() for m in modules for p in m.parameters()}
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            found[place] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # Held until the end, or memory would be given back and counted once for two tensors.
        result = loss()
    assert result.requires_grad
    return sum(found.values())


def test_memory_is_that_of_the_real_networks() -> None:
    images = torch.rand(2, 3, 32, 32)
    model = registry.build_autoencoder(KNOBS, 3, 1)
    larger = registry.build_autoencoder(VQGAN, 3, 1)
    diffusion = generators.build_generator(UNET, (3, 8, 8), None, None)
    times = torch.zeros(2, dtype=torch.long)
    measured = {
        "convnet": (KNOBS, model, lambda: model.decoder(model.encoder(images)).mean(), 4),
        "vqgan": (VQGAN, larger, lambda: larger.decoder(larger.encoder(images)).mean(), 4),
        "unet": (UNET, diffusion, lambda: diffusion(images, times, None).mean(), 5),
    }
    # The critic and the perceptual network are not among what is measured here.
    besides = {"vqgan": 2 * 32**2 * cost.RATES["losses"]["vgg"]["bytes"]}
    for name, (knobs, network, loss, copies) in measured.items():
        losses = besides.get(name, 0)
        size = sum(p.numel() for p in network.parameters())
        work = Training(changed(knobs, batch_size=2), 32, 100)
        assert work.parameters == pytest.approx(size, rel=0.35)
        state = 4 * copies * work.parameters
        assert work.memory() - state - losses == pytest.approx(kept([network], loss), rel=1 / 3)
        four = replace(work, knobs=changed(knobs, batch_size=8), parts=4)
        assert four.memory() == work.memory()


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_step_of_every_cell_has_an_estimate(device: str) -> None:
    plan = plans.real("paper")
    steps = report.needed(Estimates(plan, read_datasets(), device, {}), list(plan.cells))
    assert len(steps) > 2 * len(plan.cells)
    assert all(0 < step.seconds < math.inf for step in steps)


def test_a_dataset_without_generative_models_has_features_of_its_test_images_alone() -> None:
    datasets = read_datasets()
    estimates = Estimates(plans.real("paper"), datasets, "cpu", {})
    rates = cost.RATES["steps"]["reference"]
    for name, images in (("mnist", 10_000), ("lsun_churches", 125_227)):
        seconds = images * (rates["image"] + rates["host"] * datasets[name].image_size ** 2)
        assert estimates.step("reference", name).seconds == pytest.approx(seconds)


def test_hours_on_more_devices() -> None:
    steps = [Step("train", seconds) for seconds in (7200, 3600, 3600)]
    assert [report.hours(steps, devices) for devices in (1, 2, 8)] == [4, 2, 2]
    assert report.hours([], 8) == 0


def test_the_command_leaves_finished_cells_out_of_the_last_column(
    embedded: Estimates, capsys: pytest.CaptureFixture[str]
) -> None:
    report.main("embedded", Path(".cache"))
    whole = capsys.readouterr().out
    assert all(word in whole for word in ("On one H100", "On one core", "evaluate_samples", "64"))
    left = list(embedded.plan.cells)[:1]
    lines = report.report(embedded, left).splitlines()
    eight = next(line for line in lines if line.split()[:1] == ["8"])
    of_all, of_left = (float(hours.replace(",", "")) for hours in eight.split()[1:])
    steps = report.needed(embedded, left)
    assert of_left == pytest.approx(report.hours(steps, 8), abs=0.006)
    assert of_left < of_all


def test_requests_grow_with_every_attempt_and_stop_at_the_longest() -> None:
    step = Step("train", 3600, 10e9)
    first, second = (cost.minutes(step, attempt, 10_000) for attempt in (1, 2))
    assert first == cost.START_MINUTES + cost.MARGIN * 60
    assert second == 2 * first
    assert cost.minutes(step, 3, 150) == 150
    assert cost.megabytes(step, 2, "cpu") == 2 * cost.megabytes(step, 1, "cpu") == 2 * 14_500
    # A training on a GPU has its own memory; what measures it works in the machine's.
    assert cost.megabytes(step, 1, "gpu") < 6_000
    assert cost.megabytes(replace(step, kind="evaluate"), 1, "gpu") == 14_500


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(step: Step, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            cost.refuse_too_much(step, 9e9, "batch_size")

    monkeypatch.delenv("CODEBOOK_DAYS", raising=False)
    fits, long = Step("train", 60, 11e9), Step("train", 200 * 86400)
    assert str(fits) == "about 1 minutes by shipped rates, 11.0 GB"
    cost.refuse_too_much(fits, 9e9, "batch_size")
    refused(replace(fits, memory=13e9), "about 13.0 GB, the device has 9.0 free; lower batch_size$")
    refused(long, "take 200.0 days, more than CODEBOOK_DAYS=7; lower epochs or batch_size, or set")
    for given in ("300", "inf"):
        monkeypatch.setenv("CODEBOOK_DAYS", given)
        cost.refuse_too_much(long, 9e9, "batch_size")
    for given in ("soon", "0", "nan"):
        monkeypatch.setenv("CODEBOOK_DAYS", given)
        refused(long, f"CODEBOOK_DAYS: .* above 0, got '{given}'")


def test_a_training_that_would_take_too_long_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEBOOK_DAYS", "0.0000001")
    spec = Spec(budget="b", cell="c", knobs=KNOBS, versions={})
    learner: Any = SimpleNamespace(device=torch.device("cpu"))
    training = Session(spec, tmp_path, learner, {}, (16, 1, 28, 28))
    with pytest.raises(ConfigError, match=r"would take .* lower epochs or batch_size, "):
        training.run(lambda history, observers: pytest.fail("it started"))
