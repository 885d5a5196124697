"""Our quantisers and training step beside plain restatements of the published procedures."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks import plain, step
from models import convnet
from models.autoencoder import Autoencoder
from models.quantiser import anchors
from models.quantiser.blends import UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.refresh import Refresh, every_step, first_batch
from workflows.registry import build_autoencoder, build_objective, loss_weights
from workflows.training.stage1 import Learner, Losses, normalise, train_epoch

SIMILARITIES = {"cosine": cosine, "l2": squared_euclidean}
SCHEDULES = {"none": None, "online": every_step, "offline": first_batch}


@pytest.mark.parametrize("distance", SIMILARITIES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_forty_steps(distance: str, schedule: str) -> None:
    """Codes, losses, codebook and encoder over 40 Adam steps in double precision."""
    size, dim, when, contrastive = 24, 6, SCHEDULES[schedule], schedule == "online"
    refresh = when and Refresh(anchors.closest, UsageDecay(size), when)
    mine = ClusteredQuantiser(size, dim, SIMILARITIES[distance], refresh, contrastive).double()
    theirs = plain.PlainQuantiser(size, dim, contrastive, distance).double()
    theirs.load_state_dict({**theirs.state_dict(), "codebook": mine.codebook})
    mixing = torch.randn(dim, dim, dtype=torch.double)
    sides = []
    for quantiser in (mine, theirs):
        leaf = mixing.clone().requires_grad_()
        sides.append((quantiser, leaf, torch.optim.Adam([quantiser.codebook, leaf], 3e-3)))
    for turn in range(40):
        images, target = torch.randn(2, 3, dim, 4, 4, dtype=torch.double)
        results = []
        for quantiser, leaf, optimiser in sides:
            output = quantiser(torch.einsum("bdhw,de->behw", images, leaf))
            losses = {**output.losses, "output": (output.vectors - target).square().mean()}
            optimiser.zero_grad()
            sum(losses.values()).backward()
            if quantiser is mine or schedule == "online" or (schedule == "offline" and turn == 0):
                quantiser.adapt(output.assignment)
            optimiser.step()
            results.append((output.codes, {name: value.item() for name, value in losses.items()}))
        # Weights below 1e-8 are not applied by ours, which bounds the differences.
        assert torch.equal(results[0][0], results[1][0]), f"step {turn}"
        assert results[0][1] == pytest.approx(results[1][1], rel=1e-6)
        assert torch.allclose(mine.codebook, theirs.codebook, atol=1e-6), f"step {turn}"
        assert torch.allclose(sides[0][1], sides[1][1], atol=1e-6)
    if schedule == "online":
        assert torch.allclose(refresh.blend.usage, theirs.usage)


def test_training_steps() -> None:
    """Three steps of the whole model: the same losses from the same weights."""
    settings = step.knobs("fp32").model_copy(update={"batch_size": 16})
    images = step.pictures(16)
    mine = build_autoencoder(settings, 3, 3).to(memory_format=torch.channels_last)
    theirs = Autoencoder(
        convnet.encoder(3, 64), plain.PlainQuantiser(512, 64), convnet.decoder(3, 64)
    )
    state = mine.state_dict()
    renamed = {"quantiser.usage": "quantiser.refresh.blend.usage"}
    theirs.load_state_dict({key: state[renamed.get(key, key)] for key in theirs.state_dict()})
    optimisers = [torch.optim.Adam(model.parameters(), 3e-4) for model in (mine, theirs)]
    losses = Losses(build_objective(settings, step.VARIANCE), loss_weights(settings, 3 * 32 * 32))
    learner = Learner(mine, optimisers[0], losses)
    inputs = normalise(images, torch.device("cpu")).contiguous()
    for _ in range(3):
        (record,) = train_epoch(learner, images, settings, 0)
        # The order within the batch is another one; no sum depends on it beyond rounding.
        loss = plain.step(theirs, optimisers[1], inputs, step.VARIANCE)
        assert record["loss"] == pytest.approx(loss, rel=1e-4)


# Three latents, two codevectors; distances are whole numbers.
LATENTS = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
CODEBOOK = torch.tensor([[1.0, 0.0], [0.0, 4.0]])


def test_a_step_of_the_plain_quantiser() -> None:
    """The restatement itself, against values worked out by hand."""
    quantiser = plain.PlainQuantiser(2, 2, distance="l2")
    quantiser.codebook.data = CODEBOOK.clone()
    latents = LATENTS.T[None, :, :, None].clone().requires_grad_()
    output = quantiser(latents)
    assert output.codes.flatten().tolist() == [0, 0, 1]
    assert torch.equal(output.vectors[0, :, :, 0].T, CODEBOOK[[0, 0, 1]])
    # Squared errors 2, 4 and 4 over six numbers.
    assert [value.item() for value in output.losses.values()] == pytest.approx([10 / 6, 10 / 6])
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert quantiser.perplexity == pytest.approx(math.exp(entropy), rel=1e-6)

    (output.vectors.sum() + output.losses["codebook"]).backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))
    # 2 (2 e_0 - z_0 - z_1) / 6 and 2 (e_1 - z_2) / 6
    assert torch.allclose(quantiser.codebook.grad, torch.tensor([[-1.0, -1.0], [0.0, 2.0]]) / 3)

    quantiser.usage[0] = 1.0
    quantiser.adapt(output.assignment)
    assert quantiser.usage.tolist() == pytest.approx([0.99 + 0.02 / 3, 0.01 / 3])
    # The first code is in use and stays; the second moves by alpha to the third latent.
    assert quantiser.codebook[0].tolist() == [1, 0]
    assert quantiser.codebook[1, 1].item() == pytest.approx(4 - 2 * math.exp(-20 / 3 - 1e-3))
