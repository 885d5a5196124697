"""Our quantiser and the plain restatement, side by side over 40 Adam steps."""

from __future__ import annotations

import pytest
import torch

from baselines.sq_vae import StochasticQuantiser
from models.quantiser import anchors
from models.quantiser.blends import UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.refresh import Refresh, every_step, first_batch
from tests.restatement import clustered as plain
from tests.restatement import stochastic

SIMILARITIES = {"cosine": cosine, "l2": squared_euclidean}


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("schedule", ["none", "online", "offline"])
def test_forty_steps(distance: str, schedule: str) -> None:
    size, dim, beta = 24, 6, 0.25
    refresh = None
    if schedule != "none":
        when = {"online": every_step, "offline": first_batch}[schedule]
        refresh = Refresh(anchors.closest, UsageDecay(size), when)
    ours = ClusteredQuantiser(size, dim, SIMILARITIES[distance], refresh).double()
    if refresh is not None:
        refresh.double()
    weights = ours.codebook.detach().clone().requires_grad_()
    projection = torch.randn(dim, dim, dtype=torch.double)
    mixing = [projection.clone().requires_grad_() for _ in range(2)]
    ours_optimiser = torch.optim.Adam([ours.codebook, mixing[0]], 3e-3)
    plain_optimiser = torch.optim.Adam([weights, mixing[1]], 3e-3)
    usage = torch.zeros(size, dtype=torch.double)

    for step in range(40):
        images = torch.randn(3, dim, 4, 4, dtype=torch.double)
        target = torch.randn_like(images)
        latents = torch.einsum("bdhw,de->behw", images, mixing[0])
        output = ours(latents)
        loss = ((output.vectors - target) ** 2).mean()
        loss = loss + output.losses["codebook"] + beta * output.losses["commitment"]
        ours_optimiser.zero_grad()
        loss.backward()
        ours.adapt(output.assignment)
        ours_optimiser.step()

        z = torch.einsum("bdhw,de->bhwe", images, mixing[1]).reshape(-1, dim)
        result = plain.forward(z, weights, distance)
        flat_target = target.permute(0, 2, 3, 1).reshape(-1, dim)
        expected = ((result["vectors"] - flat_target) ** 2).mean()
        expected = expected + result["codebook"] + beta * result["commitment"]
        plain_optimiser.zero_grad()
        expected.backward()
        usage = plain.updated_usage(usage, result["codes"])
        if schedule == "online" or (schedule == "offline" and step == 0):
            found = plain.closest_anchors(result["matrix"], z)
            weights.data = plain.blended(weights, found, plain.blend_weight(usage))
        plain_optimiser.step()

        assert torch.equal(output.codes.flatten(), result["codes"]), f"step {step}"
        assert loss.item() == pytest.approx(expected.item(), rel=1e-7)
        # Weights below 1e-8 are not applied by ours, which bounds the difference.
        assert torch.allclose(ours.codebook, weights, atol=1e-6), f"step {step}"
        assert torch.allclose(mixing[0], mixing[1], atol=1e-6)
        if refresh is not None:
            assert torch.allclose(refresh.blend.usage, usage)


@pytest.mark.parametrize("training", [True, False])
def test_sq_vae_forward_and_gradients(training: bool) -> None:
    """The stochastic quantiser with the very noise that ours draws."""
    ours = StochasticQuantiser(12, 5, 1.0, temperature_decay=0.1, seed=4).double().train(training)
    latents = torch.randn(2, 5, 3, 3, dtype=torch.double, requires_grad=True)
    output = ours(latents)
    phi = ours.log_variance.detach().clone().requires_grad_()
    codebook = ours.codebook.detach().clone().requires_grad_()
    flat = latents.detach().permute(0, 2, 3, 1).reshape(-1, 5).requires_grad_()
    logit = stochastic.logits(flat, codebook, phi)
    if training:
        noise = ours._gumbel(logit)
        chosen = stochastic.soft_sample(logit, codebook, noise, stochastic.temperature(1, 0.1))
    else:
        chosen = codebook[stochastic.hard_codes(logit)]
    expected = {
        "discrete_kl": stochastic.discrete_kl(logit, 2),
        "continuous_kl": stochastic.continuous_kl(flat, chosen, phi, 2),
    }
    for name, value in expected.items():
        assert output.losses[name].item() == pytest.approx(value.item(), rel=1e-9), name
    vectors = output.vectors.permute(0, 2, 3, 1).reshape(-1, 5)
    assert torch.allclose(vectors, chosen)
    (sum(output.losses.values()) + vectors.square().sum()).backward()
    (sum(expected.values()) + chosen.square().sum()).backward()
    assert torch.allclose(latents.grad.permute(0, 2, 3, 1).reshape(-1, 5), flat.grad)
    assert torch.allclose(ours.codebook.grad, codebook.grad)
    assert torch.allclose(ours.log_variance.grad, phi.grad)
