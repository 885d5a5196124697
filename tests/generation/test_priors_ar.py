"""Autoregressive priors: what they learn, against distributions that are known in full."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines import rq_transformer
from baselines.rq_transformer import ResidualTransformer, cumulative, soft_codes
from models.generation import autoregressive
from models.generation.autoregressive import AutoregressivePrior, as_points, in_order
from models.streams import Purpose, generator

METHODS = ("autoregressive", "rq_transformer")
CODEVECTORS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.5], [2.0, 2.0]])


def stream(step: int) -> torch.Generator:
    return generator(1, Purpose.SAMPLE, step)


def prior(method: str, codes: int, shape: tuple[int, ...], classes: int | None = None) -> Any:
    torch.manual_seed(0)
    if method == "autoregressive":
        return AutoregressivePrior(codes, shape, 32, 2, 1.0, classes)
    return ResidualTransformer(CODEVECTORS[:codes], shape, 32, (1, 1), 0.0, 1.0, None, classes)


def every(codes: int, shape: tuple[int, ...]) -> Tensor:
    """All grids of codes, as points."""
    count = shape[0] * shape[1] * shape[2]
    return as_points(torch.tensor(list(itertools.product(range(codes), repeat=count))), shape)


def chances(points: Tensor, codes: int, label: int) -> Tensor:
    """Of all grids of a chain: a code is most likely the one before plus `label` + 1, mod K. The
    first code of a place follows the sum of the place before, which RQ-Transformer reads.
    """
    n, q = points.shape[:2]
    places = in_order(points).view(n, -1, q)
    probabilities = torch.ones(n, dtype=torch.float64)
    for place, depth in itertools.product(range(places.shape[1]), range(q)):
        if depth:
            before = places[:, place, depth - 1]
        else:
            before = places[:, place - 1].sum(dim=1) if place else torch.full((n,), label)
        right = places[:, place, depth] == (before + label + 1) % codes
        probabilities *= torch.where(right, 0.85, 0.15 / (codes - 1))
    return probabilities


def learn(model: Any, points: Tensor, truth: Tensor, steps: int) -> None:
    """truth: of each class, the chances of all points."""
    draws, optimiser = stream(0), torch.optim.AdamW(model.parameters(), 0.004)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    for _ in range(steps):
        picked = torch.multinomial(truth, 64, replacement=True, generator=draws)
        labels = torch.arange(len(truth)).repeat_interleave(64)
        loss = model.loss(points[picked.flatten()], labels, draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize("method", METHODS)
def test_a_known_distribution_is_learned(method: str) -> None:
    codes, shape, classes = 3, (2, 1, 2), 2
    model, points = prior(method, codes, shape, classes), every(codes, shape)
    truth = torch.stack([chances(points, codes, label) for label in range(classes)])
    torch.testing.assert_close(truth.sum(dim=1), torch.ones(len(truth), dtype=torch.float64))
    learn(model, points, truth, 300)
    model.eval()
    for label, true in enumerate(truth):
        labels = torch.full((len(points),), label)
        with torch.inference_mode():
            bits = (true * model.bits(points, labels)).sum()
        entropy = -(true * true.log2()).sum()
        # No model has fewer bits than the entropy, but for one that sees what it predicts.
        assert entropy <= bits < 1.03 * entropy
        count = 4096
        samples = model.sample(
            shape, torch.full((count,), label), [stream(number) for number in range(count)]
        )
        weights = codes ** torch.arange(points[0].numel() - 1, -1, -1)
        counts = torch.bincount((in_order(samples) * weights).sum(dim=1), minlength=len(points))
        # These samples are 0.03 to 0.06 away, for most of which their number accounts; uniform
        # codes would be 0.8 away.
        assert (counts / count - true).abs().sum() / 2 < 0.1


@pytest.mark.parametrize("classes", [None, 2])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 1), (3, 1, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_bits_are_of_a_distribution(
    method: str, shape: tuple[int, ...], classes: int | None
) -> None:
    """The probabilities of all 27 grids add up to 1."""
    model, points = prior(method, 3, shape, classes), every(3, shape)
    labels = None if classes is None else torch.ones(27, dtype=torch.long)
    assert model.bits(points, labels).neg().exp2().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("classes", [None, 2])
@pytest.mark.parametrize("method", METHODS)
def test_sampling_asks_for_the_same_logits(
    method: str, classes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept keys and values give what the whole network gives."""
    shape = (3, 2, 3)
    model = prior(method, 4, shape, classes).eval()
    points = torch.randint(0, 4, (5, *shape), generator=stream(0)).float()
    labels = None if classes is None else torch.tensor([0, 1, 1, 0, 1])
    given, seen = iter(in_order(points).T[..., None]), []

    def follow(logits: Tensor, uniform: Tensor) -> Tensor:
        seen.append(logits)
        return next(given)

    for module in (autoregressive, rq_transformer):
        monkeypatch.setattr(module, "draw", follow)
    with torch.inference_mode():
        assert torch.equal(model.sample(shape, labels, [stream(n) for n in range(5)]), points)
        torch.testing.assert_close(torch.cat(seen, dim=1), model(points, labels))


@pytest.mark.parametrize("method", METHODS)
def test_a_code_is_predicted_from_those_before(method: str) -> None:
    """Changing code i changes the logits after i, in raster order and within a place by depth."""
    shape = (2, 2, 2)
    model = prior(method, 4, shape).eval()
    codes = torch.randint(0, 4, (1, 8), generator=stream(0))
    with torch.inference_mode():
        before = model(as_points(codes, shape))
        for i in range(8):
            other = codes.clone()
            other[0, i] = (codes[0, i] + 1) % 4
            moved = (model(as_points(other, shape)) - before).abs().amax(dim=(0, 2)) > 1e-6
            # RQ-Transformer reads the codes of its own place and whole places before.
            assert moved.tolist() == [False] * (i + 1) + [True] * (7 - i)


def test_rq_transformer_reads_sums_of_codevectors() -> None:
    """Codes of a place in another order are the same to the places after it."""
    vectors = CODEVECTORS[torch.tensor([[1, 2, 3]])]
    assert cumulative(vectors).tolist() == [[[1.0, 0.0], [1.0, 1.5], [3.0, 3.5]]]
    model = prior("rq_transformer", 4, (3, 1, 2)).eval()
    one, two = (
        as_points(torch.tensor([codes]), (3, 1, 2))
        for codes in ([1, 2, 3, 0, 0, 0], [2, 1, 3, 0, 0, 0])
    )
    difference = (model(one) - model(two)).abs().amax(dim=(0, 2))
    assert difference[1] > 1e-3
    assert difference[3:].max() < 1e-5


def test_temperature_and_top_k_sharpen_samples() -> None:
    """At a low temperature, and with the likeliest code alone, samples are the greedy codes."""
    model, streams = prior("rq_transformer", 4, (2, 2, 2)), [stream(n) for n in range(64)]
    assert len(model.sample((2, 2, 2), None, streams).unique(dim=0)) > 32
    model.top_k = 1
    greedy = model.sample((2, 2, 2), None, streams).unique(dim=0)
    assert len(greedy) == 1
    model.top_k, model.temperature = 4, 1e-4
    assert torch.equal(model.sample((2, 2, 2), None, streams).unique(dim=0), greedy)
    plain = prior("autoregressive", 4, (2, 2, 2))
    plain.temperature = 1e-4
    assert len(plain.sample((2, 2, 2), None, streams).unique(dim=0)) == 1


def test_soft_codes_by_hand() -> None:
    """Two codevectors on a line, at 0 and 1; the vector is at 1."""
    line = torch.tensor([[0.0], [1.0]])
    near = 1 / (1 + torch.tensor(-2.0).exp())  # of |1 - 0|^2 / 0.5
    uniform = torch.tensor([[0.1, 0.5], [0.9, 0.5]], dtype=torch.float64)
    codes, targets = soft_codes(torch.ones(2, 1), line, 0.5, uniform)
    # 0.1 is below the chance of code 0, which leaves a residual of 1; code 1 leaves 0.
    assert codes.tolist() == [[0, 1], [1, 0]]
    first, second = torch.stack([1 - near, near]), torch.stack([near, 1 - near])
    expected = torch.stack([torch.stack([first, first]), torch.stack([first, second])])
    torch.testing.assert_close(targets, expected)


def test_cold_soft_targets_are_the_codes() -> None:
    """Where codevectors are far apart and codes are those of RQ-VAE itself."""
    codebook = torch.tensor([[0.0, 0.0], [64.0, 0.0], [0.0, 64.0], [8.0, 8.0], [4.0, 0.0]])
    points = as_points(torch.tensor([[1, 3, 2, 4, 3, 0]]), (2, 1, 3))
    models = [
        ResidualTransformer(codebook, (2, 1, 3), 32, (1, 1), soft, 1.0) for soft in (0.0, 0.01)
    ]
    models[1].load_state_dict(models[0].state_dict())
    hard, soft = (model.loss(points, None, stream(0)) for model in models)
    torch.testing.assert_close(soft, hard)


def test_the_codebook_comes_with_the_weights() -> None:
    """A model that is loaded needs no first stage of the same weights."""
    one, other = prior("rq_transformer", 4, (1, 1, 2)), prior("rq_transformer", 4, (1, 1, 2))
    other.codebook.zero_()
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.codebook, CODEVECTORS)
    assert "codebook" not in dict(one.named_parameters())
