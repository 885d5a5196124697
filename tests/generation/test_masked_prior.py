"""The masked prior: what is hidden, when codes are revealed, and that dependences are learnt."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.masked_prior import MaskedPrior, draw_hidden, gumbel, still_hidden
from models.streams import Purpose, generator
from tests.generation import toy


def model(shape: tuple[int, ...] = (2, 3, 3), steps: int = 5, classes: int | None = None) -> Any:
    return MaskedPrior(8, shape, 32, 1, steps, 4.5, classes).eval()


def streams(count: int) -> list[torch.Generator]:
    return [generator(0, Purpose.SAMPLE, number) for number in range(count)]


def test_the_schedule_is_the_published_one() -> None:
    """256 places in 8 steps, by the cosine of 11.25, 22.5, ... degrees."""
    assert still_hidden(256, 8) == [251, 236, 212, 181, 142, 97, 49, 0]


@pytest.mark.parametrize("places", [1, 4, 49, 256])
@pytest.mark.parametrize("steps", [1, 8, 18])
def test_each_step_reveals_places_and_the_last_one_all(places: int, steps: int) -> None:
    left = [places, *still_hidden(places, steps)]
    taken = min(places, steps)
    assert len(left) == taken + 1
    assert all(before > after for before, after in pairwise(left))
    assert left[-1] == 0
    for step in range(1, taken):
        # Where the cosine reveals less than one place, one is revealed.
        cosine = math.floor(places * math.cos(math.pi / 2 * step / taken))
        assert left[step] == min(cosine, left[step - 1] - 1)


@pytest.mark.parametrize(
    ("steps", "quick", "taken"), [(18, False, 18), (18, True, 8), (3, True, 3)]
)
def test_sampling_follows_the_schedule_and_keeps_what_it_reveals(
    steps: int, quick: bool, taken: int
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    prior = model((2, 6, 6), steps)
    prior.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0], inputs[1])))
    samples = prior.sample((2, 6, 6), None, streams(3), quick).flatten(2).transpose(1, 2)
    hidden = [36, *still_hidden(36, taken)]
    assert len(seen) == taken
    for (codes, masked), count in zip(seen, hidden, strict=False):
        assert masked.sum(1).tolist() == [count] * 3
        assert torch.equal(codes[~masked].float(), samples[~masked])
    # Whether a place is hidden is the row's own affair.
    assert not torch.equal(seen[1][1][0], seen[1][1][1])


def test_training_hides_what_the_cosine_says() -> None:
    hidden = draw_hidden(4000, 100, generator(0, Purpose.GENERATION))
    parts = hidden.float().mean(1)
    assert parts.min() > 0
    # The mean of cos(pi r / 2) is 2 / pi, rounded up by half a place; above a half is r < 2 / 3.
    assert parts.mean().item() == pytest.approx(2 / math.pi + 0.005, abs=0.015)
    assert (parts > 0.5).float().mean().item() == pytest.approx(2 / 3, abs=0.03)
    assert hidden.float().mean(0).std() < 0.02


def test_hidden_codes_are_not_seen_and_shown_ones_are_not_judged() -> None:
    prior = model()
    stream = generator(0, Purpose.GENERATION)
    codes = torch.randint(0, 8, (1, 9, 2), generator=stream)
    hidden = torch.arange(9).unsqueeze(0) < 4
    before = prior(codes, hidden)
    other = (codes + 1) % 8
    assert torch.equal(prior(torch.where(hidden[..., None], other, codes), hidden), before)
    # Either code of a shown place counts.
    for group in range(2):
        moved = codes.clone()
        moved[0, 8, group] = other[0, 8, group]
        assert not torch.allclose(prior(moved, hidden), before)


def test_the_loss_is_that_of_hidden_codes() -> None:
    prior = model()
    codes = torch.randint(0, 8, (3, 2, 3, 3), generator=generator(0, Purpose.GENERATION)).float()
    loss = prior.loss(codes, None, generator(1, Purpose.GENERATION))
    hidden = draw_hidden(3, 9, generator(1, Purpose.GENERATION))
    flat = codes.flatten(2).transpose(1, 2).long()
    surprise = -prior(flat, hidden).log_softmax(-1).gather(-1, flat[..., None])
    torch.testing.assert_close(loss, surprise[hidden].mean())


def test_gumbel_noise_turns_confidence_into_chances() -> None:
    """The largest of log p + noise is drawn by p."""
    likely = torch.tensor([0.1, 0.2, 0.3, 0.4])
    numbers = torch.rand(20_000, 4, generator=generator(0, Purpose.GENERATION))
    chosen = (likely.log() + gumbel(numbers)).argmax(-1).bincount() / len(numbers)
    torch.testing.assert_close(chosen, likely, atol=0.015, rtol=0)
    assert gumbel(torch.zeros(1, 1)).isfinite()


def test_dependent_places_are_learnt() -> None:
    """Places drawn independently are 0.94 away, and so is a sample of one step; grids without
    regard to the class are 0.5 away.
    """
    torch.manual_seed(0)
    prior = MaskedPrior(toy.CODES, (2, 2, 2), 32, 2, 18, 4.5, toy.CLASSES)
    toy.trained(prior, 2, 400)
    for label in range(toy.CLASSES):
        assert toy.variation(prior, 2, label) < 0.2
    prior.sampling_steps = 1
    assert toy.variation(prior, 2, 0) > 0.85
