"""ImageBART: the forward chain against matrices, the cache, and that dependences are learnt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.imagebart import Chain, ImageBart
from models.generation.codes import uniforms
from models.quantiser.search import draw
from models.streams import Purpose, generator
from tests.generation import toy

CODES, SCALES = 5, 4
CHAIN = Chain(SCALES, CODES)


def model(classes: int | None = None, scales: int = 3) -> Any:
    return ImageBart(8, (1, 3, 3), 32, 1, scales, 0.8, classes).eval()


def codes(count: int = 2, step: int = 0) -> Tensor:
    return torch.randint(0, 8, (count, 9), generator=generator(0, Purpose.GENERATION, step))


def transition(time: int) -> Tensor:
    """The chances of each code after step t, for each code before."""
    beta = CHAIN.beta(time)
    return (1 - beta) * torch.eye(CODES) + beta / CODES


def through(time: int) -> Tensor:
    """The same after the first t steps."""
    return torch.linalg.multi_dot([torch.eye(CODES)] * 2 + [transition(t + 1) for t in range(time)])


@pytest.mark.parametrize("time", range(1, SCALES + 1))
def test_marginals_are_the_closed_form(time: int) -> None:
    """(1 - kept) / K + kept x_0: by matrices, and by frequencies of codes that are replaced."""
    kept = CHAIN.kept(time)
    assert kept == pytest.approx(1 - time / SCALES)
    closed = kept * torch.eye(CODES) + (1 - kept) / CODES
    torch.testing.assert_close(through(time), closed)
    stream = generator(0, Purpose.GENERATION)
    start = moved = torch.arange(CODES).expand(20_000, CODES)
    for step in range(1, time + 1):
        moved = CHAIN.replace(moved, CHAIN.beta(step), stream)
    at_once = CHAIN.replace(start, 1 - kept, stream)
    for replaced in (moved, at_once):
        frequencies = torch.nn.functional.one_hot(replaced, CODES).float().mean(0)
        torch.testing.assert_close(frequencies, closed, atol=0.015, rtol=0)


def test_the_end_of_the_chain_is_uniform() -> None:
    assert CHAIN.kept(0) == 1
    assert CHAIN.kept(SCALES) == 0
    torch.testing.assert_close(through(SCALES), torch.full((CODES, CODES), 1 / CODES))


@pytest.mark.parametrize("time", range(1, SCALES + 1))
def test_the_posterior_is_bayes_rule(time: int) -> None:
    first, noisy = torch.meshgrid(torch.arange(CODES), torch.arange(CODES), indexing="ij")
    posterior = CHAIN.posterior(first, noisy, time)
    joint = through(time - 1)[:, None, :] * transition(time).T[None, :, :]
    torch.testing.assert_close(posterior, joint / through(time)[:, :, None])
    torch.testing.assert_close(posterior.sum(-1), torch.ones(CODES, CODES))


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("time", [1, 3])
def test_the_cache_changes_nothing(classes: int | None, time: int) -> None:
    """Logits with keys and values of earlier tokens are those of a pass over all tokens."""
    bart = model(classes)
    labels = None if classes is None else torch.tensor([0, 2])
    step, noisy = bart.steps[time - 1], codes()
    kept: list[Tensor] = []
    step.decoder.register_forward_hook(lambda _, __, output: kept.append(output[0][:, -1]))
    numbers = uniforms((9,), [generator(0, Purpose.SAMPLE, number) for number in range(2)])
    drawn = step.sample(noisy, bart._start(noisy, labels), numbers, 0.8)
    with_cache = torch.stack(kept, 1)
    whole = bart(drawn, noisy, labels, time)
    torch.testing.assert_close(with_cache, whole, atol=1e-5, rtol=1e-4)
    assert torch.equal(draw(whole / 0.8, numbers), drawn)


def test_codes_know_those_ahead_of_them_and_all_noisy_ones() -> None:
    bart, before, noisy = model(), codes(), codes(step=1)
    logits = bart(before, noisy, None, 1)
    moved = before.clone()
    moved[:, 4] = (moved[:, 4] + 1) % 8
    changed = bart(moved, noisy, None, 1)
    torch.testing.assert_close(changed[:, :5], logits[:, :5])
    assert not torch.allclose(changed[:, 5:], logits[:, 5:])
    moved = noisy.clone()
    moved[:, 8] = (moved[:, 8] + 1) % 8
    assert not torch.allclose(bart(before, moved, None, 1)[:, 0], logits[:, 0])
    # The last step knows no noisy codes.
    assert torch.equal(bart(before, moved, None, 3), bart(before, noisy, None, 3))


def test_a_batch_trains_one_step_of_the_chain_and_the_others_rest() -> None:
    bart, points = model().train(), codes(4).reshape(4, 1, 3, 3).float()
    optimiser = torch.optim.AdamW(bart.parameters(), 0.01, weight_decay=0.1)
    trained = set()
    for number in range(12):
        before = [torch.cat([p.flatten().clone() for p in s.parameters()]) for s in bart.steps]
        optimiser.zero_grad(set_to_none=True)
        bart.loss(points, None, generator(0, Purpose.GENERATION, number)).backward()
        optimiser.step()
        after = [torch.cat([p.flatten() for p in s.parameters()]) for s in bart.steps]
        moved = [i for i in range(3) if not torch.equal(before[i], after[i])]
        assert len(moved) == 1
        for index, step in enumerate(bart.steps):
            assert all((p.grad is not None) == (index in moved) for p in step.parameters())
        trained.update(moved)
    assert trained == {0, 1, 2}


def test_the_loss_is_the_divergence_from_the_posterior() -> None:
    """Of the first step, whose posterior is certain, it is a cross-entropy."""
    bart, first = model(), codes(64)
    points = first.reshape(64, 1, 3, 3).float()
    drawn = [int(torch.randint(1, 4, (), generator=stream(n))) for n in range(20)]
    number = drawn.index(1)
    again = stream(number)
    torch.randint(1, 4, (), generator=again)
    before = bart.chain.replace(first, 0.0, again)
    assert torch.equal(before, first)
    noisy = bart.chain.replace(before, 1 / 3, again)
    logits = bart(before, noisy, None, 1)
    cross_entropy = torch.nn.functional.cross_entropy(logits.flatten(0, 1), first.flatten())
    torch.testing.assert_close(bart.loss(points, None, stream(number)), cross_entropy)


def stream(step: int) -> torch.Generator:
    return generator(0, Purpose.GENERATION, step)


def test_several_codes_a_place_are_refused() -> None:
    with pytest.raises(ValueError, match="2 codes a place"):
        ImageBart(8, (2, 3, 3), 32, 1, 3, 1.0)


def test_dependent_places_and_the_chain_are_learnt() -> None:
    """Places drawn independently are 0.94 away, and grids without regard to the class 0.5. A
    decoder that does not look at x_t leaves a quarter of the codes as they are.
    """
    torch.manual_seed(0)
    bart = ImageBart(toy.CODES, (1, 2, 2), 32, 1, 2, 1.0, toy.CLASSES)
    toy.trained(bart, 1, 400, rate=0.01)
    for label in range(toy.CLASSES):
        assert toy.variation(bart, 1, label) < 0.2
        for time in (1, 2):
            beta = bart.chain.beta(time)
            expected = 1 - beta + beta / toy.CODES
            assert unchanged(bart, time, label) == pytest.approx(expected, abs=0.1)


@torch.inference_mode()
def unchanged(bart: ImageBart, time: int, label: int, count: int = 512) -> float:
    """The part of x_t that a reverse step leaves as it is, where x_t is of true grids."""
    labels = torch.full((count,), label)
    true = toy.grids(labels, stream(0)).flatten(1).long()
    noisy = bart.chain.replace(true, 1 - bart.chain.kept(time), stream(1))
    streams = [generator(8, Purpose.SAMPLE, number) for number in range(count)]
    start = bart._start(noisy, labels)
    step: Any = bart.steps[time - 1]
    drawn = step.sample(noisy, start, uniforms((4,), streams), 1.0)
    return float((drawn == noisy).float().mean())
