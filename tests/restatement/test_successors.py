"""SQ-VAE, and siblings and successors of CVQ-VAE, beside restatements of published formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg, optimize
from torch import Tensor

from baselines import arcvq_vae, vq_wae, wasserstein_vq
from baselines.rotation_trick import RotatedQuantiser
from baselines.sq_vae import StochasticQuantiser
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import squared_euclidean
from tests.knobs import small
from tests.restatement import successors
from workflows.registry import build_autoencoder, loss_weights

K, D = 16, 6


def built(method: str, **changes: Any) -> Any:
    return build_autoencoder(small(method, **changes), 1, 10).quantiser.double()


def rows(grid: Tensor) -> Tensor:
    return grid.permute(0, 2, 3, 1).flatten(0, 2)


def same(quantiser: Any, reference: Callable[[Tensor], successors.Found], rel: float) -> None:
    """Vectors, codes, losses and all gradients: to the latents, and to what the method trains."""
    latents = torch.randn(2, quantiser.code_dim, 5, 4, dtype=torch.double)
    weight = torch.randn(40, quantiser.code_dim, dtype=torch.double)
    parameters, gradients = list(quantiser.parameters()), []
    output = quantiser(latents.requires_grad_())
    flat = rows(latents.detach()).requires_grad_()
    vectors, codes, losses = reference(flat)
    assert torch.equal(output.codes.flatten(), codes)
    assert torch.allclose(rows(output.vectors), vectors, atol=min(rel, 1e-6))
    assert output.losses.keys() == losses.keys()
    for name, value in losses.items():
        assert output.losses[name].item() == pytest.approx(value.item(), rel=rel, abs=1e-9), name
    for side, terms, leaf in (
        (rows(output.vectors), output.losses, latents),
        (vectors, losses, flat),
    ):
        total = (side * weight).sum() + sum(
            (place + 1) * terms[name] for place, name in enumerate(sorted(terms))
        )
        gradients.append(torch.autograd.grad(total, [leaf, *parameters], allow_unused=True))
    (ours, *mine), (theirs, *others) = gradients
    for one, other in zip([rows(ours), *mine], [theirs, *others], strict=True):
        assert one.norm() > 0
        assert (one - other).norm() <= rel * other.norm()


def test_fsq() -> None:
    """The library computes its bound in single precision."""
    levels = [8, 5, 3]
    same(built("fsq", levels=levels), lambda z: successors.finite_scalar(z, levels), 1e-6)


def test_fsq_of_the_library_is_nearly_that_of_the_paper() -> None:
    z = torch.randn(20_000, 3, dtype=torch.double)
    ours, theirs = (successors.finite_scalar(z, [8, 8, 8], flag) for flag in (False, True))
    assert 0.98 < (ours[1] == theirs[1]).double().mean() < 1
    # A neighbouring level at most.
    assert (ours[0] - theirs[0]).abs().max() <= 0.25 + 1e-9


@pytest.mark.parametrize("method", ["lfq", "bsq"])
def test_lfq_and_bsq(method: str) -> None:
    """The library computes in single precision, and its logarithm stops at 1e-5."""
    quantiser = built(method, code_bits=4, entropy_temperature=0.5)
    same(quantiser, lambda z: successors.lookup_free(z, 0.5, method == "bsq"), 1e-3)


def test_simvq() -> None:
    quantiser = built("simvq", codebook_size=K, code_dim=D)
    inner = quantiser.inner
    (matrix,) = quantiser.parameters()
    assert torch.equal(inner.frozen_codebook @ matrix.T, quantiser.codebook)
    same(quantiser, lambda z: successors.transformed(z, inner.frozen_codebook, matrix), 1e-9)


def test_simvq_draws_what_is_frozen_from_a_narrow_normal_distribution() -> None:
    frozen = built("simvq", codebook_size=4096, code_dim=25).inner.frozen_codebook
    assert frozen.std().item() == pytest.approx(1 / 5, rel=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_sq_vae(training: bool) -> None:
    """With the very noise that ours draws."""
    quantiser = StochasticQuantiser(K, D, 1.0, temperature_decay=0.1, seed=4).double()
    quantiser.train(training)
    codebook, phi = quantiser.codebook, quantiser.log_variance

    def reference(z: Tensor) -> successors.Found:
        noise = quantiser._gumbel(z.detach() @ codebook.T)
        soft = (noise, quantiser.temperature) if training else None
        return successors.stochastic(z, codebook, phi, 2, soft)

    same(quantiser, reference, 1e-9)


def test_ibq() -> None:
    quantiser = built("ibq", codebook_size=K, code_dim=D, entropy_temperature=0.5)
    codebook = quantiser.codebook
    same(quantiser, lambda z: successors.index_propagated(z, codebook, 0.5), 1e-9)


def test_arcvq_vae() -> None:
    quantiser = built("arcvq_vae", codebook_size=K, code_dim=D)
    codebook = quantiser.codebook
    assert torch.allclose(codebook.norm(dim=1), torch.ones(K, dtype=torch.double))
    quantiser.step.passed = 700
    same(quantiser, lambda z: successors.arc_margin(z, codebook, 700), 1e-6)


def test_arcvq_vae_puts_codevectors_back_into_a_growing_ball() -> None:
    quantiser = built("arcvq_vae", codebook_size=3, code_dim=2)
    start = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 1.1]], dtype=torch.double)
    quantiser.codebook.data = start.clone()
    output = quantiser(torch.randn(1, 2, 2, 2, dtype=torch.double))
    quantiser.step.passed = 1000
    quantiser.adapt(output.assignment)
    radius = np.exp(arcvq_vae.GROWTH * 1000)
    expected = torch.stack([start[0] / 5 * radius, start[1], start[2]])
    assert torch.allclose(quantiser.codebook, expected, rtol=1e-6)
    assert quantiser.step.passed == 1001


@pytest.mark.parametrize("method", ["vq_vae_rotation", "cvq_vae_rotation"])
def test_gradients_are_rotated(method: str) -> None:
    """A latent's gradient is its vector's, times the transpose of the rescaled rotation."""
    quantiser = built(method, codebook_size=K, code_dim=D)
    assert isinstance(quantiser, RotatedQuantiser)
    latents = torch.randn(2, D, 3, 4, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, D, 3, 4, dtype=torch.double)
    output, plain = quantiser(latents), quantiser.inner(latents)
    assert torch.equal(output.vectors, plain.vectors)
    assert torch.equal(output.codes, plain.codes)
    (output.vectors * weight).sum().backward()
    triples = (rows(x) for x in (latents.detach(), output.vectors.detach(), weight))
    for z, e, g, ours in zip(*triples, rows(latents.grad), strict=True):
        matrix = successors.rotation(z, e)
        assert torch.allclose(matrix @ z, e, atol=1e-9)
        assert torch.allclose(matrix.T @ g, ours, rtol=1e-6, atol=1e-9)


def test_a_moving_average_in_which_codes_expire() -> None:
    """Three batches; which latent revives a code is random, the rest is not."""
    # Counts of whole latents never equal the limit.
    limit = 1.05
    quantiser = built("vq_vae_expiry", codebook_size=K, code_dim=D, decay=0.8, expiry=limit)
    codebook = quantiser.codebook.clone()
    counts, sums = torch.ones(K, dtype=torch.double), codebook.clone()
    library = quantiser.inner._codebook
    counts.copy_(library.cluster_size[0])
    sums.copy_(library.embed_avg[0])
    revived = 0
    for _ in range(3):
        latents = torch.randn(2, D, 5, 4, dtype=torch.double)
        z, output = rows(latents), quantiser(latents)
        codes = successors.closest(z, codebook)
        assert torch.equal(output.codes.flatten(), codes)
        assert torch.equal(rows(output.vectors), codebook[codes])
        expected = (z - codebook[codes]).pow(2).mean().item()
        assert output.losses["commitment"].item() == pytest.approx(expected)
        for k in range(K):
            counts[k] = 0.8 * counts[k] + 0.2 * (codes == k).sum()
            sums[k] = 0.8 * sums[k] + 0.2 * z[codes == k].sum(0)
        smooth = (counts + 1e-5) / (counts.sum() + K * 1e-5) * counts.sum()
        expected = sums / smooth[:, None]
        quantiser.adapt(output.assignment)
        dead = counts < limit
        codebook = quantiser.codebook.clone()
        assert torch.allclose(codebook[~dead], expected[~dead], rtol=1e-4, atol=1e-6)
        # Each dead code has a latent of its own.
        (which,) = (torch.cdist(codebook[dead], z) < 1e-5).nonzero(as_tuple=True)[1:]
        assert len(which.unique()) == dead.sum()
        counts[dead], sums[dead] = limit, limit * codebook[dead]
        revived += int(dead.sum())
        assert not dead.all()
    assert revived > 0


def exact_transport(costs: np.ndarray, weights: np.ndarray) -> Any:
    """The linear programme of optimal transport from equal weights."""
    n, k = costs.shape
    marginals = [*(np.kron(np.eye(n), np.ones(k))), *(np.kron(np.ones(n), np.eye(k)))]
    totals = [*np.full(n, 1 / n), *weights]
    return optimize.linprog(costs.ravel(), A_eq=marginals, b_eq=totals)


def test_vq_wae_transports_at_the_least_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a linear programme, once iterated to the end and once as trained."""
    costs = torch.rand(12, 7, dtype=torch.double).requires_grad_()
    log_weights = torch.randn(7, dtype=torch.double).log_softmax(0)
    weights = log_weights.exp()
    briefly = vq_wae.transport_cost(costs, log_weights).item()
    monkeypatch.setattr(vq_wae, "ITERATIONS", 1000)
    value = vq_wae.transport_cost(costs, log_weights)
    value.backward()
    plan = costs.grad
    least = exact_transport(costs.detach().numpy(), weights.numpy()).fun
    eps = vq_wae.ENTROPY * costs.mean().item()
    # The entropy adds between nothing and eps times the logarithm of the smaller side.
    assert least * 0.999 < value.item() < least + eps * np.log(7)
    assert briefly == pytest.approx(value.item(), rel=0.1)
    assert torch.allclose(plan.sum(1), torch.full((12,), 1 / 12, dtype=torch.double))
    assert torch.allclose(plan.sum(0), weights, atol=1e-3)
    assert least * 0.999 < (plan * costs).sum().item() < value.item()


def test_vq_wae_solves_its_dual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a general optimiser of the dual, with the gradients to latents and weights."""
    monkeypatch.setattr(vq_wae, "ITERATIONS", 1000)
    z, e = torch.randn(30, D, dtype=torch.double), torch.randn(K, D, dtype=torch.double)
    logits = torch.randn(K, dtype=torch.double, requires_grad=True)
    z.requires_grad_()
    costs = torch.cdist(z, e).square()
    eps, weights = vq_wae.ENTROPY * costs.detach().mean(), logits.softmax(0)

    def dual(g: Tensor) -> Tensor:
        inner = (weights * torch.exp((g - costs + costs.min(1, keepdim=True).values) / eps)).sum(1)
        return (costs.min(1).values - eps * inner.log()).mean() + (weights * g).sum()

    def falling(g: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.from_numpy(g).requires_grad_()
        value = -dual(leaf)
        (slope,) = torch.autograd.grad(value, leaf)
        return value.item(), slope.numpy()

    best = optimize.minimize(falling, np.zeros(K), jac=True, method="L-BFGS-B").x
    expected = dual(torch.from_numpy(best))
    cost = vq_wae.transport_cost(costs, logits.log_softmax(0))
    assert cost.item() == pytest.approx(expected.item(), rel=1e-3)
    slopes = [torch.autograd.grad(x, [z, logits], retain_graph=True) for x in (cost, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_vq_wae_has_the_nearest_codes_and_the_divergence_of_its_weights() -> None:
    quantiser = built("vq_wae", codebook_size=K, code_dim=D)
    assert quantiser(torch.randn(1, D, 3, 3).double()).losses["weights_kl"].abs() < 1e-12
    quantiser.weight_logits.data.normal_()
    latents = torch.randn(2, D, 5, 4, dtype=torch.double, requires_grad=True)
    output = quantiser(latents)
    codes = successors.closest(rows(latents), quantiser.codebook)
    assert torch.equal(output.codes.flatten(), codes)
    assert torch.allclose(rows(output.vectors), quantiser.codebook[codes])
    pi = quantiser.weight_logits.softmax(0)
    divergence = sum(p * (p * K).log() for p in pi)
    assert output.losses["weights_kl"].item() == pytest.approx(divergence.item())
    weight = torch.randn_like(latents)
    (output.vectors * weight).sum().backward()
    assert torch.equal(latents.grad, weight)


def test_vq_wae_weighs_its_losses_as_the_authors_do() -> None:
    """They add up the terms of the 64 positions of a grid; here all positions are alike."""
    knobs = small("vq_wae", codebook_size=512, code_dim=D)
    quantiser: Any = build_autoencoder(knobs, 1, 10).quantiser.double()
    quantiser.weight_logits.data.normal_()
    latents = torch.randn(4, D, 1, 1, dtype=torch.double)
    losses = quantiser(latents.expand(4, D, 8, 8)).losses
    weights = loss_weights(knobs, 1)
    costs = torch.cdist(rows(latents), quantiser.codebook).square()
    pi = quantiser.weight_logits.softmax(0)
    transport = vq_wae.transport_cost(costs, pi.log())
    # torch's KLDivLoss takes the mean over the codes.
    divergence = (pi * (pi * 512).log()).mean()
    expected = 64 * (0.001 * transport + 1.0 * divergence)
    weighted = sum(weights[name] * value for name, value in losses.items())
    assert weighted.item() == pytest.approx(expected.item(), rel=1e-6)


def wasserstein(z: np.ndarray, codebook: np.ndarray) -> float:
    """W2 between the Gaussians of latents and codevectors, both divided by one deviation."""
    scale = z.std(0).max()
    z, codebook = z / scale, codebook / scale
    ours, theirs = np.cov(z.T, bias=True), np.cov(codebook.T)
    root = linalg.sqrtm(ours)
    spread = np.trace(ours + theirs - 2 * np.real(linalg.sqrtm(root @ theirs @ root)))
    return float(np.sqrt(np.square(z.mean(0) - codebook.mean(0)).sum() + spread))


def test_wasserstein_vq(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a batch as long as the queue; beside VQ-VAE, whose encoder's gradient stays."""
    monkeypatch.setattr(wasserstein_vq, "QUEUE", 40)
    quantiser = built("wasserstein_vq", codebook_size=K, code_dim=D)
    plain = ClusteredQuantiser(K, D, squared_euclidean).double()
    plain.codebook.data = quantiser.codebook.data.normal_().clone()
    latents = torch.randn(2, D, 5, 4, dtype=torch.double, requires_grad=True)
    output, other = quantiser(latents), plain(latents)
    assert torch.equal(output.codes, other.codes)
    z, codebook = rows(latents.detach()).numpy(), plain.codebook.detach().numpy()
    term = output.losses["wasserstein"]
    assert term.item() == pytest.approx(wasserstein(z, codebook), rel=1e-5)
    slope, none = torch.autograd.grad(term, [quantiser.codebook, latents], allow_unused=True)
    assert none is None
    for k, d in ((0, 0), (3, 5), (K - 1, 2)):
        step = np.zeros((K, D))
        step[k, d] = 1e-5
        difference = wasserstein(z, codebook + step) - wasserstein(z, codebook - step)
        assert slope[k, d].item() == pytest.approx(difference / 2e-5, rel=1e-3)
    for name, value in other.losses.items():
        assert torch.equal(output.losses[name], value)


def test_wasserstein_vq_remembers_as_many_latents_as_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wasserstein_vq, "QUEUE", 40)
    quantiser = built("wasserstein_vq", codebook_size=K, code_dim=D)
    batches = [torch.randn(1, D, 2, 5, dtype=torch.double) + step for step in range(3)]
    for batch in batches[:2]:
        quantiser.adapt(quantiser(batch).assignment)
    term = quantiser(batches[2]).losses["wasserstein"].item()
    # Each batch is a quarter of the queue, so the batches weigh 9, 12 and 16 of 37.
    weighed = zip(batches, (9, 12, 16), strict=True)
    z = np.concatenate([np.tile(rows(batch).numpy(), (n, 1)) for batch, n in weighed])
    codebook = quantiser.codebook.detach().numpy()
    assert term == pytest.approx(wasserstein(z, codebook), rel=1e-4)
