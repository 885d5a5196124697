"""The restatement itself, against the published table of alpha and values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tests.restatement import clustered, reinit, stochastic

# Three latents, two codevectors; distances are whole numbers.
LATENTS = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
CODEBOOK = torch.tensor([[1.0, 0.0], [0.0, 4.0]])


@pytest.mark.parametrize(
    ("relative", "alpha", "tolerance"),
    [
        (0, 0.9990, 5e-5),
        (0.0001, 0.904, 5e-4),
        (0.0005, 0.606, 5e-4),
        (0.001, 0.368, 6e-4),  # exp(-1.001) is 0.36751
        (0.005, 0.0067, 5e-5),
        (0.01, 4.5e-5, 5e-7),
        (1, 0.0, 1e-12),
    ],
)
def test_alpha_table(relative, alpha, tolerance):
    usage = torch.full((8,), relative / 8, dtype=torch.float64)
    assert clustered.blend_weight(usage).tolist() == pytest.approx([alpha] * 8, abs=tolerance)


def test_an_average_code_stays_safe_for_687_steps():
    usage = torch.full((2,), 0.5, dtype=torch.float64)
    steps = 0
    while usage[1] * 2 > 0.001:
        usage = clustered.updated_usage(usage, torch.zeros(1, dtype=torch.long))
        steps += 1
    assert steps in (687, 688)
    assert math.log(0.001) / math.log(0.99) == pytest.approx(687.3, abs=0.05)


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
    chances = clustered.anchor_probabilities(matrix)
    assert chances.sum(dim=0).tolist() == pytest.approx([1, 1])
    # Code 0: exp(0), exp(-2), exp(-3) before normalising.
    total = 1 + math.exp(-2) + math.exp(-3)
    assert chances[:, 0].tolist() == pytest.approx(
        [1 / total, math.exp(-2) / total, math.exp(-3) / total]
    )
    cosine = clustered.anchor_probabilities(torch.tensor([[1.0], [-1.0]]))
    assert (cosine[0] / cosine[1]).item() == pytest.approx(math.exp(2), rel=1e-5)
    after = clustered.blended(CODEBOOK, LATENTS[[0, 2]], torch.tensor([0.25, 1.0]))
    assert after.tolist() == [[0.75, 0.25], [0.0, 2.0]]


def test_contrastive():
    # N = 4, K = 2: positive (4 + 3) / 2, negatives 2 and 1.
    matrix = torch.tensor([[1.0, 4.0], [2.0, 3.0], [3.0, 2.0], [4.0, 1.0]]) * 0.07
    expected = math.log(math.exp(3.5) + math.exp(2) + math.exp(1)) - 3.5
    assert clustered.contrastive(matrix).item() == pytest.approx(expected, rel=1e-5)
    # Fewer latents than codes: one positive still.
    assert clustered.contrastive(torch.zeros(3, 5)).item() == pytest.approx(math.log(2))
    latents, codebook = LATENTS.clone().requires_grad_(), CODEBOOK.clone().requires_grad_()
    clustered.contrastive(clustered.similarities(latents, codebook, "cosine")).backward()
    assert latents.grad is None
    assert codebook.grad.abs().sum() > 0


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
    images = torch.zeros(2, 1, 2, 2)
    # Squared error 8 over two images: S = 4, D = 4.
    assert stochastic.log_mse(images, images + 1).item() == pytest.approx(2 * math.log(4))


@pytest.mark.parametrize(
    ("step", "decay", "tau"),
    [
        (156_300, 1e-5, 0.21),
        (125_000, 1e-5, 0.29),
        (29_500, 1e-5, 0.74),
        (24_500, 1e-5, 0.78),
        (29_500, 5.3e-5, 0.21),
        (24_500, 5.1e-5, 0.29),
    ],
)
def test_temperature_ends_where_the_schedules_say(step, decay, tau):
    assert stochastic.temperature(step, decay) == pytest.approx(tau, abs=0.005)


def test_stochastic_gradients_reach_everything():
    latents, codebook = LATENTS.clone().requires_grad_(), CODEBOOK.clone().requires_grad_()
    phi = torch.tensor(0.3, requires_grad=True)
    logit = stochastic.logits(latents, codebook, phi)
    stochastic.soft_sample(logit, codebook, torch.zeros(3, 2), 1.0).square().sum().backward()
    assert all(leaf.grad.abs().sum() > 0 for leaf in (latents, codebook, phi))


@pytest.mark.parametrize(("least", "moves"), [(2.0, True), (3.0, False), (0.0, True)])
def test_near_codevectors(least, moves):
    codebook = torch.tensor([[0.0], [10.0], [20.0], [30.0]])
    counts = torch.tensor([50.0, least, 100.0, 2.5])
    after, cleared = reinit.near_codevectors(codebook, counts, torch.tensor([1.0]))
    ends = [0.0, 20.01, 20.0, 30.0] if moves else [0.0, 10.0, 20.0, 20.01]
    # With three against 100 code 1 is safe, yet code 3 has 2.5: still one code, and only one.
    assert after[:, 0].tolist() == pytest.approx(ends)
    assert cleared.tolist() == [0] * 4


def test_near_codevectors_threshold_is_strict():
    codebook = torch.tensor([[0.0], [1.0]])
    after, _ = reinit.near_codevectors(codebook, torch.tensor([1.0, 4.0]), torch.ones(1), 0.25)
    assert torch.equal(after, codebook)


def test_hard_features():
    counts = reinit.moving_counts(torch.ones(3), torch.tensor([0, 0, 1]))
    assert counts.tolist() == pytest.approx([1.01, 1.0, 0.99])
    codebook = torch.tensor([[9.0, 9.0]] * 2 + [[8.0, 8.0]])
    counts = torch.tensor([0.5, 1.0, 0.99])
    after = reinit.hard_features(codebook, counts, LATENTS, torch.tensor([2, 1, 0]))
    assert after.tolist() == [[0.0, 2.0], [9.0, 9.0], [0.0, 1.0]]
    with pytest.raises(ValueError, match="distinct"):
        reinit.hard_features(codebook, counts, LATENTS, torch.tensor([0, 1]))
