"""Closed forms: values that the paper or a short calculation gives."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.reinit import NearCodevectors
from baselines.sq_vae import StochasticQuantiser
from baselines.vq_vae import MovingAverageQuantiser
from models.convnet import decoder, encoder
from models.objectives import log_mse, mse_over_variance
from models.quantiser import anchors
from models.quantiser.blends import ReplaceDead, UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.contrastive import contrastive_term
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Assignment
from models.quantiser.refresh import Refresh, every_step, first_batch


@pytest.mark.parametrize(
    ("relative_usage", "printed"),
    [
        (0, "0.9990"),
        (0.0001, "0.904"),
        (0.0005, "0.606"),
        (0.005, "0.0067"),
        (0.01, "0.000045"),
        (1, "0.000000"),
    ],
)
def test_alpha(relative_usage: float, printed: str) -> None:
    """The table of the running average's weights, to its printed digits."""
    blend = UsageDecay(512)
    blend.usage.fill_(relative_usage / 512)
    digits = len(printed.partition(".")[2])
    assert f"{blend.weights()[0].item():.{digits}f}" == printed


def test_usage_is_a_running_share() -> None:
    blend = UsageDecay(4)
    blend.observe(torch.tensor([0, 0, 0, 1]))
    assert blend.usage.tolist() == pytest.approx([0.0075, 0.0025, 0, 0])
    blend.observe(torch.tensor([2, 2, 2, 2]))
    assert blend.usage.tolist() == pytest.approx([0.007425, 0.002475, 0.01, 0])


def test_an_average_code_that_died_needs_687_steps() -> None:
    blend = UsageDecay(512)
    blend.usage.fill_(1 / 512)
    steps = 0
    while blend.usage[0] * 512 > 0.001:
        blend.observe(torch.ones(512, dtype=torch.long))
        steps += 1
    assert steps == 688  # 0.99^687 is the last power above 0.001


def test_jukebox_counts() -> None:
    blend = ReplaceDead(3)
    assert blend.weights().tolist() == [0, 0, 0]
    blend.observe(torch.tensor([0, 0, 1]))
    assert blend.count.tolist() == pytest.approx([1.01, 1.0, 0.99])
    assert blend.weights()[2] == 1
    assert blend.weights()[0] == 0


def test_moving_average_closed_form() -> None:
    quantiser = MovingAverageQuantiser(2, 1, squared_euclidean, decay=0.9)
    start = quantiser.codebook.clone()
    quantiser.adapt(Assignment(torch.tensor([[3.0], [5.0]]), torch.tensor([0, 0])))
    expected = (0.9 * start[0] + 0.1 * 8.0) / (0.9 + 0.1 * 2)
    assert quantiser.codebook[0].item() == pytest.approx(expected.item())
    assert quantiser.codebook[1].item() == pytest.approx(start[1].item())


def test_distances() -> None:
    latents, codes = torch.randn(5, 3), torch.randn(4, 3)
    assert torch.allclose(
        squared_euclidean(latents, codes), -torch.cdist(latents, codes).square(), atol=1e-5
    )
    reference = torch.nn.functional.cosine_similarity(latents[:, None], codes[None], dim=2)
    assert torch.allclose(cosine(latents, codes), reference, atol=1e-6)


def test_unique_anchors_are_distinct() -> None:
    latents = torch.arange(40.0)[:, None]
    generator = torch.Generator().manual_seed(0)
    drawn = anchors.unique(latents, torch.zeros(30, 1), torch.arange(30), cosine, generator)
    assert len(drawn.unique()) == 30
    few = anchors.unique(latents[:5], torch.zeros(30, 1), torch.arange(30), cosine, generator)
    assert few.shape == (30, 1)


@pytest.mark.parametrize("sampler", [anchors.random, anchors.unique, anchors.closest])
def test_anchors_do_not_depend_on_who_needs_one(sampler) -> None:
    latents, codes = torch.randn(90, 4), torch.randn(12, 4)
    draws = [
        sampler(latents, codes, needed, cosine, torch.Generator().manual_seed(5))
        for needed in (torch.arange(12), torch.tensor([2, 7]))
    ]
    assert torch.equal(draws[0][[2, 7]], draws[1])


def test_offline_refreshes_the_first_batch_only() -> None:
    refresh = Refresh(anchors.random, UsageDecay(8), first_batch)
    codebook = torch.zeros(8, 2)
    assignment = Assignment(torch.ones(20, 2), torch.zeros(20, dtype=torch.long))
    refresh.update(codebook, assignment, cosine)
    assert codebook[1:].min() > 0.99
    codebook.zero_()
    refresh.update(codebook, assignment, cosine)
    assert codebook.abs().max() == 0
    assert refresh.blend.usage[0] == pytest.approx(0.0199)


def test_codes_in_steady_use_stay_bit_for_bit() -> None:
    refresh = Refresh(anchors.closest, UsageDecay(4), every_step)
    refresh.blend.usage.copy_(torch.tensor([0.25, 0.25, 0.5, 0.0]))
    codebook = torch.randn(4, 3)
    before = codebook.clone()
    refresh.update(codebook, Assignment(torch.randn(9, 3), torch.tensor([0, 1, 2] * 3)), cosine)
    assert torch.equal(codebook[:3], before[:3])
    assert not torch.equal(codebook[3], before[3])


def test_near_codevectors_moves_one_code_a_check() -> None:
    rule = NearCodevectors(4)
    codebook = torch.tensor([[0.0, 0], [5, 5], [9, 9], [7, 7]])
    before = codebook.clone()
    assignment = Assignment(torch.zeros(3, 2), torch.tensor([1, 1, 3]))
    for _ in range(19):
        rule.update(codebook, assignment, cosine)
    assert torch.equal(codebook, before)
    rule.update(codebook, assignment, cosine)
    assert (codebook[0] - before[1]).abs().max() < 0.1
    assert torch.equal(codebook[1:], before[1:])
    assert rule.count.sum() == 0


def test_near_codevectors_leaves_codes_that_are_used_enough() -> None:
    rule, codebook = NearCodevectors(2, interval=1, threshold=0.25), torch.tensor([[0.0], [1.0]])
    rule.update(codebook, Assignment(torch.zeros(5, 1), torch.tensor([0, 1, 1, 1, 1])), cosine)
    assert codebook.tolist() == [[0], [1]]
    assert rule.count.sum() == 0


def test_contrastive_with_ties_matches_a_full_sort() -> None:
    latents = torch.randn(60, 4, dtype=torch.double, requires_grad=True)
    codebook = torch.randn(7, 4, dtype=torch.double, requires_grad=True)
    with torch.no_grad():
        latents[10:30] = latents[0]
    for similarity in (cosine, squared_euclidean):
        ordered = similarity(latents.detach(), codebook).sort(dim=0).values
        positive, negatives = ordered[-8:].mean(0), ordered[:30]
        logits = torch.cat([positive[None], negatives]).T / 0.07
        expected = torch.nn.functional.cross_entropy(logits, torch.zeros(7, dtype=torch.long))
        value = contrastive_term(latents, codebook, similarity)
        assert value.item() == pytest.approx(expected.item(), rel=1e-9)
        (slope,) = torch.autograd.grad(value, codebook)
        torch.testing.assert_close(slope, *torch.autograd.grad(expected, codebook))
    assert contrastive_term(latents[:1], codebook, cosine) == 0


def test_sq_vae_temperature_and_variance() -> None:
    quantiser = StochasticQuantiser(8, 4, math.log(10), temperature_decay=1e-5)
    assert 1 + quantiser.log_variance.exp().item() == pytest.approx(11)
    quantiser.step.passed = 156_299
    assert quantiser.temperature == pytest.approx(0.21, abs=0.005)


def test_objectives() -> None:
    images, output = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    assert mse_over_variance(0.1)(output, images).item() == pytest.approx(2.5)
    assert log_mse(output, images).item() == pytest.approx(2 * math.log(1.0))
    with pytest.raises(ValueError, match="variance: expected a positive number"):
        mse_over_variance(0.0)


@pytest.mark.parametrize(("channels", "parameters"), [(1, 691_393), (3, 695_491)])
def test_parameter_count_is_the_published_one(channels: int, parameters: int) -> None:
    parts = [encoder(channels, 64), decoder(channels, 64), ClusteredQuantiser(512, 64, cosine)]
    assert sum(p.numel() for part in parts for p in part.parameters()) == parameters


@pytest.mark.parametrize(("side", "grid"), [(28, 7), (32, 8), (64, 16)])
def test_grid_of_latents(side: int, grid: int) -> None:
    latents = encoder(3, 64)(torch.zeros(1, 3, side, side))
    assert latents.shape == (1, 64, grid, grid)
    assert decoder(3, 64)(latents).shape == (1, 3, side, side)
