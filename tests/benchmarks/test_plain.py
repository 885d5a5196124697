"""The plain procedure that our speed is measured against computes what ours computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import plain, quantiser, step
from workflows.registry import build_autoencoder
from workflows.training.stage1 import Learner, normalise, train_epoch

CPU = torch.device("cpu")


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative to the length of the whole: single elements are differences of large numbers."""
    return float((a - b).norm() / b.norm())


def test_quantisers_agree_over_twelve_batches() -> None:
    """Codes, losses, gradients and codebook, refreshed and trained by gradient descent."""
    mine = quantiser.ours(64, contrastive=True)
    theirs = plain.PlainQuantiser(64, quantiser.WIDTH, contrastive=True)
    with torch.no_grad():
        theirs.codebook.copy_(mine.codebook)
    for turn in range(12):
        latents = quantiser.batch(turn)[:8]
        upstream = torch.randn_like(latents)
        leaves = [latents.clone().requires_grad_() for _ in range(2)]
        output, seen = mine(leaves[0]), theirs(leaves[1])
        assert torch.equal(output.codes.flatten(), seen.codes)
        assert output.losses.keys() == seen.losses.keys()
        for name, value in output.losses.items():
            assert value.item() == pytest.approx(seen.losses[name].item(), rel=1e-5), name
        for one, result in ((mine, output), (theirs, seen)):
            loss = sum(result.losses.values())
            torch.autograd.backward([result.vectors, loss], [upstream, None])
            one.adapt(result.assignment)
        assert difference(leaves[0].grad, leaves[1].grad) < 1e-5
        assert difference(mine.codebook.grad, theirs.codebook.grad) < 1e-5
        with torch.no_grad():
            for one in (mine, theirs):
                one.codebook -= 0.1 * one.codebook.grad
                one.codebook.grad = None
        assert difference(mine.codebook.detach(), theirs.codebook.detach()) < 1e-5


def test_training_steps_agree() -> None:
    """Three steps of the whole model: the same losses from the same weights."""
    settings = step.knobs("fp32").model_copy(update={"batch_size": 16})
    pixels = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), np.uint8)
    images = torch.from_numpy(pixels)
    mine = build_autoencoder(settings, 3, 3).to(memory_format=torch.channels_last)
    theirs = plain.PlainAutoencoder(3, plain.PlainQuantiser(512, 64), 64)
    state = mine.state_dict()
    renamed = {"quantiser.usage": "quantiser.refresh.blend.usage"}
    theirs.load_state_dict({key: state[renamed.get(key, key)] for key in theirs.state_dict()})
    optimisers = [torch.optim.Adam(model.parameters(), 3e-4) for model in (mine, theirs)]
    learner = Learner(mine, optimisers[0], step.losses_of(settings))
    for turn in range(3):
        (record,) = train_epoch(learner, images, settings, 0)
        # The order within the batch is another one; no sum depends on it beyond rounding.
        loss, perplexity = plain.step(
            theirs, optimisers[1], normalise(pixels, CPU).contiguous(), step.VARIANCE
        )
        assert record["loss"] == pytest.approx(loss, rel=1e-4), turn
        assert perplexity >= 1
