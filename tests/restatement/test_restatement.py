"""The restatements themselves, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks import plain
from tests.restatement import stochastic

# Three latents, two codevectors; distances are whole numbers.
LATENTS = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
CODEBOOK = torch.tensor([[1.0, 0.0], [0.0, 4.0]])


def test_similarities() -> None:
    matrix = plain.similarities(LATENTS, CODEBOOK, "l2")
    assert matrix.tolist() == [[-2, -9], [-4, -25], [-5, -4]]
    matrix = plain.similarities(LATENTS, CODEBOOK, "cosine")
    assert matrix.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_a_step_of_the_plain_quantiser() -> None:
    quantiser = plain.PlainQuantiser(2, 2, distance="l2")
    quantiser.codebook.data = CODEBOOK.clone()
    latents = LATENTS.T[None, :, :, None].clone().requires_grad_()
    found = quantiser(latents)
    assert found.codes.flatten().tolist() == [0, 0, 1]
    assert torch.equal(found.vectors[0, :, :, 0].T, CODEBOOK[[0, 0, 1]])
    # Squared errors 2, 4 and 4 over six numbers.
    assert [value.item() for value in found.losses.values()] == pytest.approx([10 / 6, 10 / 6])
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert quantiser.perplexity == pytest.approx(math.exp(entropy), rel=1e-6)

    (found.vectors.sum() + found.losses["codebook"]).backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))
    # 2 (2 e_0 - z_0 - z_1) / 6 and 2 (e_1 - z_2) / 6
    assert torch.allclose(quantiser.codebook.grad, torch.tensor([[-1.0, -1.0], [0.0, 2.0]]) / 3)

    quantiser.usage[0] = 1.0
    quantiser.adapt(found.assignment)
    assert quantiser.usage.tolist() == pytest.approx([0.99 + 0.02 / 3, 0.01 / 3])
    # The first code is in use and stays; the second moves by alpha to the third latent.
    assert quantiser.codebook[0].tolist() == [1, 0]
    assert quantiser.codebook[1, 1].item() == pytest.approx(4 - 2 * math.exp(-20 / 3 - 1e-3))


def test_stochastic() -> None:
    phi = torch.tensor(0.0)  # sigma^2 = 2
    found = stochastic.forward(LATENTS, CODEBOOK, phi, 1, None)
    assert found["codes"].tolist() == [0, 0, 1]
    assert found["continuous_kl"].item() == 2.5
    # Three images of two latents, as far from each of four codes: -2 log 4 each.
    even = stochastic.forward(torch.zeros(6, 2), torch.ones(4, 2), phi, 3, None)
    assert even["discrete_kl"].item() == pytest.approx(-2 * math.log(4))
    # With the noise, logits of -0.5 and -0.5 + log 3.
    noise = torch.tensor([[0.0, 1.75 + math.log(3)]])
    soft = stochastic.forward(LATENTS[:1], CODEBOOK, phi, 1, (noise, 0.5))
    assert soft["vectors"][0].tolist() == pytest.approx([0.1, 3.6], rel=1e-5)  # weights 1 : 9
