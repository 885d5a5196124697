"""Closed forms: values that the paper or a short calculation gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.vq_vae import MovingAverageQuantiser
from models.convnet import decoder, encoder
from models.quantiser import anchors
from models.quantiser.blends import ReplaceDead, UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Assignment
from models.quantiser.refresh import Refresh, every_step
from tests.knobs import small
from workflows.metrics.usage import perplexity, usage
from workflows.registry import build_autoencoder


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


def test_an_average_code_that_died_needs_688_steps() -> None:
    blend = UsageDecay(512)
    blend.usage.fill_(1 / 512)
    steps = 0
    while blend.usage[0] * 512 > 0.001:
        blend.observe(torch.ones(512, dtype=torch.long))
        steps += 1
    assert steps == 688  # 0.99^687 is the last power above 0.001


def test_a_code_is_dead_below_one_latent_a_batch() -> None:
    blend = ReplaceDead(3)
    blend.observe(torch.tensor([0, 0, 1]))
    # 0.99 + 0.01 times how often each was hit.
    assert blend.count.tolist() == pytest.approx([1.01, 1.0, 0.99])
    assert blend.weights()[[0, 2]].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        # Entropy 1/2 log 2 + 2 (1/4 log 4) = 3/2 log 2.
        ([2, 1, 1, 0], 0.75, 2**1.5),
        ([3] * 16, 1.0, 16.0),
        ([0, 7, 0, 0], 0.25, 1.0),
        ([0, 0], 0.0, 0.0),
    ],
)
def test_usage_and_perplexity(counts: list[int], share: float, value: float) -> None:
    assert usage(np.array(counts)) == share
    assert perplexity(np.array(counts)) == pytest.approx(value)


def test_the_temperature_of_sq_vae_falls_from_one_to_its_last() -> None:
    """tau_t = tau_T^(t / T) in step t of T, counted from 1."""
    quantiser = build_autoencoder(small("sq_vae", sq_final_temperature=0.25), 1, 4).quantiser
    temperatures = []
    for _ in range(4):
        temperatures.append(quantiser.temperature)
        quantiser.adapt(quantiser(torch.zeros(1, 8, 1, 1)).assignment)
    assert temperatures == pytest.approx([0.25**0.25, 0.5, 0.25**0.75, 0.25])


def test_a_codevector_that_gets_no_latents_stays_where_it_is() -> None:
    """e_k = m_k / N_k does not change while both shrink alike, however long that takes."""
    quantiser = MovingAverageQuantiser(2, 3, squared_euclidean)
    start = quantiser.codebook.clone()
    assignment = Assignment(torch.ones(4, 3), torch.zeros(4, dtype=torch.long))
    for _ in range(12_000):
        quantiser.adapt(assignment)
    torch.testing.assert_close(quantiser.codebook, torch.stack([torch.ones(3), start[1]]))
    quantiser.adapt(Assignment(torch.full((1, 3), 5.0), torch.ones(1, dtype=torch.long)))
    torch.testing.assert_close(quantiser.codebook[1], torch.full((3,), 5.0))


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


def test_codes_in_steady_use_stay_bit_for_bit() -> None:
    refresh = Refresh(anchors.closest, UsageDecay(4), every_step)
    refresh.blend.usage.copy_(torch.tensor([0.25, 0.25, 0.5, 0.0]))
    codebook = torch.randn(4, 3)
    before = codebook.clone()
    refresh.update(codebook, Assignment(torch.randn(9, 3), torch.tensor([0, 1, 2] * 3)), cosine)
    assert torch.equal(codebook[:3], before[:3])
    assert not torch.equal(codebook[3], before[3])


@pytest.mark.parametrize(("channels", "parameters"), [(1, 691_393), (3, 695_491)])
def test_parameter_count_is_the_published_one(channels: int, parameters: int) -> None:
    parts = [encoder(channels, 64), decoder(channels, 64), ClusteredQuantiser(512, 64, cosine)]
    assert sum(p.numel() for part in parts for p in part.parameters()) == parameters


@pytest.mark.parametrize(("side", "grid"), [(28, 7), (32, 8), (64, 16)])
def test_grid_of_latents(side: int, grid: int) -> None:
    latents = encoder(3, 64)(torch.zeros(1, 3, side, side))
    assert latents.shape == (1, 64, grid, grid)
    assert decoder(3, 64)(latents).shape == (1, 3, side, side)
