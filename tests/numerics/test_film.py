"""A film of a training: what its frames are, and that filming changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.knobs import VARIANTS, changed
from tests.numerics.test_training import losses_of, splits, start
from workflows.training.film import EARLY, FRAMES, Film, moments
from workflows.training.loop import Observers
from workflows.training.stage1 import Learner, train, watch

PLANE = {"code_dim": 2, "distance": "l2", "epochs": 3}
STEPS = 15


def trained(knobs: Any, film: Film | None) -> Learner:
    learner = Learner(*start(knobs), losses_of(knobs), film)
    train(learner, splits(), knobs, [], Observers())
    return learner


@pytest.mark.parametrize("steps", [1, 2, 15, 1500, 25_000])
def test_moments_are_close_early_and_even_later(steps: int) -> None:
    shown = sorted(moments(steps))
    assert shown[0] == 0
    assert shown[-1] == steps
    assert len(shown) <= FRAMES + 1
    if steps >= 1500:
        assert len(shown) >= FRAMES - 2
        early = [step for step in shown if 0 < step <= steps * EARLY + 1]
        assert abs(len(early) - FRAMES / 2) <= 2
        gaps = np.diff([step for step in shown if step >= steps * EARLY - 1])
        assert gaps.max() - gaps.min() <= 1
        # Never less often than evenly spaced frames of the later part.
        assert np.diff(shown).max() == gaps.max()


@pytest.mark.parametrize("method", ["vq_vae", "cvq_vae", "sq_vae", "vq_vae_ema"])
def test_filming_does_not_change_the_training(method: str) -> None:
    knobs = changed(VARIANTS[method], **PLANE)
    torch.manual_seed(5)
    film = Film(splits().validation, frozenset(range(STEPS + 1)))
    filmed = trained(knobs, film).pack()
    after = torch.rand(1)
    torch.manual_seed(5)
    unfilmed = trained(knobs, None).pack()
    assert torch.equal(after, torch.rand(1))
    assert sorted(film.frames) == list(range(STEPS + 1))
    for name, value in unfilmed.items():
        assert torch.equal(value, filmed[name]), name


def test_a_frame_is_the_codebook_its_latents_and_how_often_codes_are_hit() -> None:
    knobs = changed(VARIANTS["cvq_vae"], **PLANE)
    film = Film(splits().validation, frozenset({0, STEPS}))
    model: Any = trained(knobs, film).model
    first, last = film.frames[0], film.frames[STEPS]
    assert torch.equal(first["codebook"], start(knobs)[0].quantiser.codebook)
    assert torch.equal(last["codebook"], model.quantiser.codebook)
    watched = splits().validation
    expected, length = watch(model, watched, knobs.codebook_size)
    assert last["counts"].tolist() == expected.tolist()
    # Every latent of these few images, in an order of its own; each counted once.
    nearest = torch.cdist(last["latents"], last["codebook"]).argmin(1)
    assert torch.bincount(nearest, minlength=16).tolist() == expected.tolist()
    assert length == pytest.approx(last["codebook"][nearest].norm(dim=1).mean().item())
    model.eval()
    latents = model.quantise(torch.from_numpy(watched) / 127.5 - 1).assignment.latents
    assert torch.equal(latents.sort(0).values, last["latents"].sort(0).values)
