"""The restatement itself, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tests.restatement import clustered, stochastic

# Three latents, two codevectors; distances are whole numbers.
LATENTS = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
CODEBOOK = torch.tensor([[1.0, 0.0], [0.0, 4.0]])


def test_first_batch_moves_only_unused_codes():
    usage = clustered.updated_usage(torch.zeros(3, dtype=torch.float64), torch.tensor([0, 0, 1, 0]))
    assert usage.tolist() == pytest.approx([0.0075, 0.0025, 0])
    moved = clustered.blend_weight(usage) > 1e-3
    assert moved.tolist() == [False, False, True]


def test_similarities_and_codes():
    matrix = clustered.similarities(LATENTS, CODEBOOK, "l2")
    assert matrix.tolist() == [[-2, -9], [-4, -25], [-5, -4]]
    assert clustered.codes_of(matrix).tolist() == [0, 0, 1]
    matrix = clustered.similarities(LATENTS, CODEBOOK, "cosine")
    assert matrix.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert clustered.codes_of(matrix).tolist() == [1, 0, 1]
    assert clustered.codes_of(torch.zeros(2, 3)).tolist() == [0, 0]


def test_forward_losses_gradients_and_perplexity():
    latents, codebook = LATENTS.clone().requires_grad_(), CODEBOOK.clone().requires_grad_()
    result = clustered.forward(latents, codebook, "l2")
    # Squared errors 2, 4 and 4 over six numbers.
    assert result["commitment"].item() == pytest.approx(10 / 6)
    assert result["codebook"].item() == pytest.approx(10 / 6)
    assert torch.equal(result["vectors"].detach(), CODEBOOK[[0, 0, 1]])
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert result["perplexity"].item() == pytest.approx(math.exp(entropy), rel=1e-6)

    (gradient,) = torch.autograd.grad(result["vectors"].sum(), latents, retain_graph=True)
    assert torch.equal(gradient, torch.ones_like(latents))
    (gradient,) = torch.autograd.grad(result["codebook"], codebook, retain_graph=True)
    # 2 (2 e_0 - z_0 - z_1) / 6 and 2 (e_1 - z_2) / 6
    assert torch.allclose(gradient, torch.tensor([[-1.0, -1.0], [0.0, 2.0]]) / 3)
    assert torch.autograd.grad(result["commitment"], codebook, allow_unused=True)[0] is None


def test_anchors_and_blend():
    matrix = clustered.similarities(LATENTS, CODEBOOK, "l2")
    assert torch.equal(clustered.closest_anchors(matrix, LATENTS), LATENTS[[0, 2]])
    after = clustered.blended(CODEBOOK, LATENTS[[0, 2]], torch.tensor([0.25, 1.0]))
    assert after.tolist() == [[0.75, 0.25], [0.0, 2.0]]


def test_stochastic():
    phi = torch.tensor(0.0)  # sigma^2 = 2
    assert stochastic.variance(torch.tensor(10.0).log()).item() == pytest.approx(11)
    logit = stochastic.logits(LATENTS, CODEBOOK, phi)
    assert logit.tolist() == [[-0.5, -2.25], [-1, -6.25], [-1.25, -1]]
    assert stochastic.hard_codes(logit).tolist() == [0, 0, 1]
    even = torch.zeros(6, 4)
    # Three images of two latents: -2 log 4 each.
    assert stochastic.discrete_kl(even, 3).item() == pytest.approx(-2 * math.log(4))
    vectors = stochastic.soft_sample(even[:, :2], CODEBOOK, torch.zeros(6, 2), 0.5)
    assert vectors.tolist() == [[0.5, 2.0]] * 6
    scores = torch.tensor([[0.0, math.log(3)]])
    half = stochastic.soft_sample(scores / 2, CODEBOOK, scores / 2, 0.5)  # weights 1 : 9
    assert half[0].tolist() == pytest.approx([0.1, 3.6], rel=1e-5)
    assert stochastic.continuous_kl(LATENTS, CODEBOOK[[0, 0, 1]], phi, 1).item() == 2.5
    assert stochastic.temperature(156_300) == pytest.approx(0.21, abs=0.005)
