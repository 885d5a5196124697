"""What makes each control a control."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.controls import OfficialOrder
from models.quantiser import anchors
from models.quantiser.blends import UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import Similarity, cosine, squared_euclidean
from models.quantiser.refresh import Refresh, every_step
from tests.knobs import small
from workflows.registry import build_autoencoder, build_objective, loss_weights
from workflows.steps.evaluate import reconstruct
from workflows.training.stage1 import Learner, Losses, train_step

SIZE, DIM = 3, 2


def built(method: str) -> Any:
    return build_autoencoder(small(method), 1, 10)


def test_an_autoencoder_returns_its_latents_and_has_no_codes() -> None:
    model, images = built("autoencoder"), torch.rand(2, 1, 8, 8) * 2 - 1
    found = model(images)
    latents = model.encoder(images)
    assert torch.equal(found.quantised.vectors, latents)
    assert torch.equal(found.images, model.decoder(latents))
    assert (found.quantised.codes.numel(), found.quantised.losses) == (0, {})


def test_an_autoencoder_is_measured_without_counting_codes() -> None:
    grey = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 1, 8, 8)
    made, counts = reconstruct(built("autoencoder"), grey, 0, torch.device("cpu"))
    assert (made.shape, len(counts)) == (grey.shape, 0)


def test_nothing_moves_a_random_codebook() -> None:
    knobs, model = small("random_codebook"), built("random_codebook")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    learner = Learner(model, optimiser, Losses(F.mse_loss, loss_weights(knobs, 64)))
    for _ in range(3):
        train_step(learner, torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8), knobs)
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith("quantiser.")}
    assert len(before["quantiser.codebook"].unique(dim=0)) == knobs.codebook_size


@pytest.mark.parametrize("similarity", [cosine, squared_euclidean])
def test_a_farthest_anchor_is_the_least_similar_latent(similarity: Similarity) -> None:
    latents, codebook, needed = torch.randn(50, 4), torch.randn(7, 4), torch.tensor([1, 2, 6])
    found = anchors.farthest(latents, codebook, needed, similarity, torch.Generator())
    assert torch.equal(found, latents[similarity(codebook[needed], latents).argmin(1)])


def contrastive_gradients(similarity: Similarity) -> tuple[Any, ...]:
    """Latents (4 x 3, 2), a codebook, the same after one refresh, and the gradients of the
    contrastive term by the codebook in the official order and in ours.
    """
    latents, found = torch.rand(1, DIM, 4, 3), []
    # No latent is near the last two codevectors.
    start = torch.tensor([[1.0, 1.0], [-1.0, -2.0], [-1.5, 0.1]])
    for kind, more in ((OfficialOrder, ()), (ClusteredQuantiser, (True,))):
        refresh = Refresh(anchors.closest, UsageDecay(SIZE), every_step)
        quantiser = kind(SIZE, DIM, similarity, refresh, *more)
        quantiser.codebook.data.copy_(start)
        output = quantiser(latents)
        output.losses["contrastive"].backward()
        found.append(quantiser.codebook.grad)
        quantiser.adapt(output.assignment)
    return output.assignment.latents, start, quantiser.codebook.detach(), *found


def test_the_official_order_has_the_gradient_of_the_swapped_codebook() -> None:
    z, old, new, official, ours = (part.double().numpy() for part in contrastive_gradients(cosine))
    assert np.abs(new - old).max(1)[1:].min() > 0.5
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    for k in range(SIZE):
        length = np.linalg.norm(old[k])
        scores = unit @ old[k] / length
        order = scores.argsort()
        # Of 12 latents the 4 closest are positive, the 6 farthest negative.
        near, far = order[-4:], order[:6]
        logits = np.array([scores[near].mean(), *scores[far]]) / 0.07
        share = np.exp(logits - logits.max())
        share /= share.sum()
        pull = (share[0] - 1) * unit[near].mean(0) + share[1:] @ unit[far]
        g = pull / 0.07 / SIZE
        swapped = g / length - new[k] * (g @ new[k]) / length**3
        plain = g / length - old[k] * (g @ old[k]) / length**3
        np.testing.assert_allclose(official[k], swapped, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(ours[k], plain, rtol=1e-3, atol=1e-5)


def test_the_official_order_refreshes_only_for_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    quantiser = built("official_order").quantiser.eval()
    monkeypatch.setattr(Refresh, "update", lambda *_: pytest.fail("refreshed"))
    with torch.no_grad():
        assert quantiser(torch.randn(1, quantiser.code_dim, 2, 2)).losses["contrastive"].isfinite()


def test_the_order_changes_nothing_with_the_euclidean_distance() -> None:
    _, old, new, official, ours = contrastive_gradients(squared_euclidean)
    assert (new - old).abs().amax(1)[1:].min() > 0.5
    assert torch.allclose(official, ours, rtol=1e-4, atol=1e-5)


def test_four_variances_scale_the_reconstruction_term_and_nothing_else() -> None:
    knobs, plain = small("variance_times_4"), small("cvq_vae")
    images, output = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    values = [build_objective(one, 0.09)(output, images) for one in (knobs, plain)]
    torch.testing.assert_close(values[0], values[1] / 4)
    assert loss_weights(knobs, 64) == loss_weights(plain, 64)
    assert knobs.model_dump(exclude={"method"}) == plain.model_dump(exclude={"method"})
    first, second = (built(name).state_dict() for name in ("variance_times_4", "cvq_vae"))
    assert all(torch.equal(first[name], value) for name, value in second.items())
