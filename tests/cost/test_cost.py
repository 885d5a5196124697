"""What a budget costs, against torch's whole count, hand-made schedules and measured cells."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import LARGE, SMALL
from workflows import registry
from workflows.cost import __main__ as command
from workflows.cost import check, counts
from workflows.cost.devices import Work, seconds, settings
from workflows.cost.jobs import Job, jobs
from workflows.cost.schedule import bounds, longest_chain
from workflows.data import describe, names
from workflows.grid import load_grid
from workflows.probe import estimate
from workflows.schema import ConfigError

KNOBS: dict[str, Any] = {**SMALL, "method": "vq_vae", "distance": "l2", "code_dim": 64}
UNET: dict[str, Any] = {
    "unet_channels": 32, "unet_multipliers": [1, 2], "unet_blocks": 1, "attention_levels": 1,
    "head_channels": 16, "conditional": True, "seed": 0,
}  # fmt: skip


def test_the_small_network_costs_what_was_counted_by_hand() -> None:
    """docs/performance.md: 0.198 and 0.264 GFLOP an image, both ways, with 512 codes."""
    for channels, side, expected in ((1, 28, 0.198e9), (3, 32, 0.264e9)):
        knobs = {**KNOBS, "codebook_size": 512}
        network = counts.autoencoder(knobs, channels, side)
        codes = counts.quantiser(knobs, network.latents)
        assert network.latents == (side // 4) ** 2
        assert network.whole.step + codes.step == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("size", [{}, LARGE])
def test_a_step_is_what_torch_counts_of_the_real_one(size: dict[str, Any]) -> None:
    """Forward, backward, critic: run on the processor, on noise, with the loop's own calls."""
    from workflows.metrics.perceptual import Perceptual, empty

    knobs = {**KNOBS, "adversarial_start": 0, **size} | {"adversarial_start": 0}
    found = counts.autoencoder(knobs, 3, 32)
    model = registry.build_autoencoder(knobs, 3, 1)
    perceptual = None
    if size:
        perceptual = Perceptual(empty("vgg")).to_empty(device="cpu").requires_grad_(False)
        for parameter in perceptual.parameters():
            parameter.zero_()
    objective = registry.build_objective(knobs, 1.0, perceptual)
    adversary = registry.build_adversary(knobs, 3)
    images = torch.rand(2, 3, 32, 32)
    with counts.Counter() as counter:
        output = model.decoder(model.encoder(images))
        loss = objective(output, images)
        if adversary is not None:
            loss = loss + adversary(output, loss, model.decoder.last_layer)
        loss.backward()
        if adversary is not None:
            adversary.adapt(images, output.detach())
    assert 2 * found.whole.step == pytest.approx(counter.total, rel=0.02)
    assert found.silent < found.whole.step or not size


def test_memory_is_what_the_refusal_before_a_training_counts() -> None:
    network = counts.backbone(UNET, 3, 16, 10)
    model = registry.build_backbone(UNET, 3, 10)

    def step(count: int) -> torch.Tensor:
        times = torch.zeros(count, dtype=torch.long)
        return model(torch.rand(count, 3, 16, 16), times, times).square().mean()

    found = estimate(step, [model], 8, 1, averaged=True)
    assert network.parameters == found.parameters
    assert network.copies == found.state
    # Kernels of a processor keep a little beside what the meta device says.
    assert 8 * network.activations == pytest.approx(found.activations, rel=0.1)
    with counts.Counter() as counter:
        step(1).backward()
    # Small as it is, the first layer, which has nothing to pass further back, is 2 % of it.
    assert network.step == pytest.approx(counter.total, rel=0.05)


def test_a_quantiser_is_counted_at_any_size() -> None:
    """A product of N latents and K codevectors of D numbers is 2 N K D operations."""
    knobs = {**KNOBS, "codebook_size": 100, "code_dim": 16}
    found = counts.quantiser(knobs, 50)
    assert found.operations == 2 * 50 * 100 * 16
    assert found.pairs == 50 * 100
    deep = counts.quantiser({**knobs, "method": "rq_vae", "residual_depth": 4}, 50)
    assert deep.pairs == 4 * found.pairs
    # SQ-VAE keeps matrices of all pairs for the way back, at least one of floats.
    stochastic = counts.quantiser({**knobs, "method": "sq_vae"}, 50)
    assert stochastic.activations > 4 * found.pairs
    assert stochastic.step > 2 * stochastic.operations


def job(name: str, *after: str, kind: str = "train") -> Job:
    return Job(name, kind, Work(), after)


def test_schedules_that_can_be_worked_out_by_hand() -> None:
    graph = [job("a"), job("b", "a"), job("c"), job("d"), job("e")]
    spent = {"a": 2.0, "b": 3.0, "c": 1.0, "d": 1.0, "e": 1.0}
    assert longest_chain(graph, spent).names == ("a", "b")
    one, two, many = (bounds(graph, spent, count, gpus=True) for count in (1, 2, 64))
    assert (one.at_least, one.listed) == (8, 8)
    assert (two.at_least, two.listed) == (5, 5)
    assert (many.at_least, many.listed) == (5, 5)
    # What needs no GPU waits for none, but whoever waits for it waits.
    beside = [job("p", kind="prepare"), job("a", "p"), job("b"), job("c")]
    spent = {"p": 4.0, "a": 1.0, "b": 3.0, "c": 1.0}
    assert bounds(beside, spent, 1, gpus=True).listed == 5
    assert bounds(beside, spent, 1, gpus=False).listed == 9
    with pytest.raises(KeyError, match="nowhere"):
        longest_chain([job("a", "nowhere")], {"a": 1.0})


@pytest.fixture(scope="module")
def embedded() -> list[Job]:
    datasets = {name: describe(name) for name in names()}
    return jobs(load_grid("embedded", datasets), datasets)


def test_every_step_of_every_cell_is_there(embedded: list[Job]) -> None:
    datasets = {name: describe(name) for name in names()}
    cells = load_grid("embedded", datasets).cells
    found = {one.name for one in embedded}
    assert len(found) == len(embedded)
    assert {name for one in embedded for name in one.after} <= found
    for name, cell in cells.items():
        steps = (
            ("train", "evaluate") if cell.stage == 1 else ("train", "sample", "evaluate_samples")
        )
        assert {f"{step} {name}" for step in steps} <= found
        if cell.first_stage:
            assert f"latents {cell.first_stage}" in found
    assert all(seconds(one.work, "cpu") > 0 for one in embedded)
    kept = sum(one.kept for one in embedded if one.kind == "prepare")
    assert kept == 5000 * 28 * 28 + 4500 * 3 * 32 * 32


def test_a_cell_is_measured_in_the_protocols_of_its_tables(embedded: list[Job]) -> None:
    datasets = {name: describe(name) for name in names()}
    grid = load_grid("embedded", datasets)
    evaluation = {"protocols": ["exact"], "table_protocols": {"methods": ["exact", "as_published"]}}
    budget = {**grid.budget, "evaluation": {**grid.budget["evaluation"], **evaluation}}
    grid = replace(grid, budget=budget)
    found = {one.name: one for one in jobs(grid, datasets)}
    before = {one.name: one for one in embedded}
    shown = {row.cell for row in grid.rows if row.table == "methods"}
    evaluated = [name for name, cell in grid.cells.items() if cell.stage == 1]
    assert shown < {*evaluated}
    for name in evaluated:
        job, dataset = found[f"evaluate {name}"], grid.cells[name].knobs["dataset"]
        protocols = ("exact", "as_published") if name in shown else ("exact",)
        references = {f"reference {dataset} {protocol}" for protocol in protocols}
        assert {*job.after} == {f"train {name}", *references}
        assert {*job.after} <= found.keys()
        less = job.work.inference < before[job.name].work.inference
        assert less == (name not in shown)


def test_twice_the_samples_cost_twice_the_sampling(embedded: list[Job]) -> None:
    datasets = {name: describe(name) for name in names()}
    grid = load_grid("embedded", datasets)
    name = "mnist_5k/ddpm/conditional/seed0"
    cell = grid.cells[name]
    more = replace(cell, knobs={**cell.knobs, "samples": 2 * cell.knobs["samples"]})
    grid = replace(grid, cells={**grid.cells, name: more})
    before, after = (
        next(one for one in found if one.name == f"sample {name}").work.inference
        for found in (embedded, jobs(grid, datasets))
    )
    assert after == pytest.approx(2 * before)


def test_predictions_are_near_the_cells_that_were_measured() -> None:
    """None of those cells gave a rate. The machine was shared, so a cell may take twice as long."""
    cells = list(check.timed(check.ROOT / "results" / "lite" / "cells"))
    unseen = [c.ratio for c in cells if c.knobs["dataset"] != check.CALIBRATED]
    assert len(unseen) >= 50
    assert 0.8 < np.median(unseen) < 1.25
    assert np.mean([0.5 < ratio < 2 for ratio in unseen]) > 0.9
    about = settings()["devices"]["cpu"]
    assert about["rates"]["fp32"]["training"] == pytest.approx(check.rate(cells), rel=0.1)
    assert about["pair_nanoseconds"]["stochastic"] == pytest.approx(
        check.stochastic(cells), rel=0.15
    )


def test_the_document_says_what_the_check_finds() -> None:
    cells = list(check.timed(check.ROOT / "results" / "lite" / "cells"))
    said = check.DOCUMENT.read_text(encoding="utf-8")
    assert check.START in said
    assert check.END in said
    medians = [re.search(r"\| all .*", text) for text in (said, check.document(said, cells))]
    assert all(medians)
    theirs, ours = (float(found[0].split("|")[6]) for found in medians if found)
    assert theirs == pytest.approx(ours, abs=0.1)


def test_a_precision_without_a_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"devices\.yaml: devices\.cpu\.rates: no rate of 'tf32'"):
        seconds(Work(training=1.0, precision="tf32"), "cpu")


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["cost", "--budget", "embedded", "--jobs"])
    assert command.main() == 0
    said = capsys.readouterr().out
    for word in ("On one H100", "On one core", "Longest chain", "evaluate_samples", "64"):
        assert word in said
    # Where a training would be refused on a core, nobody means to run the budget there.
    monkeypatch.setenv("CODEBOOK_DAYS", "0.0000000001")
    assert command.main() == 0
    said = capsys.readouterr().out
    assert "Refused as they are" in said
    assert "On one core" not in said
    monkeypatch.setattr("sys.argv", ["cost", "--budget", "papper"])
    assert command.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("cost: config: budget: 'papper' is unknown; allowed: embedded")


def test_a_record_of_another_device_is_no_evidence(tmp_path: Path) -> None:
    source = check.ROOT / "results/lite/cells/mnist/vq_vae/default/seed0/train.json"
    record = json.loads(source.read_text())
    for folder, changes in (("a", {}), ("b", {"device": "NVIDIA"}), ("c", {"status": "diverged"})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.json").write_text(json.dumps({**record, **changes}))
    assert [cell.cell for cell in check.timed(tmp_path)] == [record["cell"]]
