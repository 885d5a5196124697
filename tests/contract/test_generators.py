"""One contract, asked of every generative model in the registry."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.generation.interface import Critic, GenerativeModel, Likelihood, WithLoss
from tests.generators import critic_of, knobs_of, stream
from tests.knobs import small
from workflows.generators import (
    GENERATORS,
    Generator,
    build_generator,
    build_space,
)
from workflows.registry import build_autoencoder

# First stages of priors that do not fit every codebook.
FIRST_STAGES = {"rq_transformer": "rq_vae", "masked_prior": "movq"}
SIDE, CLASSES = 16, 5


def space_of(knobs: Any) -> Any:
    method = FIRST_STAGES.get(knobs.method, "vq_vae")
    return build_space(GENERATORS[knobs.method].points, build_autoencoder(small(method), 3, 4))


def shape_of(space: Any) -> tuple[int, ...]:
    return tuple(space.encode(torch.zeros(1, 3, SIDE, SIDE)).shape[1:])


def points_of(space: Any, count: int = 4) -> torch.Tensor:
    with torch.no_grad():
        return space.encode(torch.rand(count, 3, SIDE, SIDE, generator=stream(0)) * 2 - 1)


def classes_of(method: str) -> list[int | None]:
    """Models that do not know classes are asked without them alone."""
    return [None] if GENERATORS[method].critic else [None, CLASSES]


CASES = [(method, classes) for method in GENERATORS for classes in classes_of(method)]


def asked_of(applies_to: Callable[[Generator], object]) -> pytest.MarkDecorator:
    """A test of those methods alone, each without classes and with them."""
    cases = [case for case in CASES if applies_to(GENERATORS[case[0]])]
    names = [f"{method}, {classes} classes" for method, classes in cases]
    return pytest.mark.parametrize("built", cases, indirect=True, ids=names)


@pytest.fixture
def built(request: pytest.FixtureRequest) -> tuple[Any, Any, Any, Any]:
    """Knobs, space, model and the labels of four rows."""
    method, classes = request.param
    knobs = knobs_of(method, conditional=classes is not None)
    space = space_of(knobs)
    model = build_generator(knobs, shape_of(space), classes, space)
    return knobs, space, model, None if classes is None else torch.tensor([0, 1, 2, 3])


@asked_of(lambda method: True)
def test_interface(built: tuple[Any, Any, Any, Any]) -> None:
    knobs, space, model, labels = built
    assert isinstance(model, GenerativeModel)
    assert isinstance(model, Likelihood) == GENERATORS[knobs.method].likelihood
    assert isinstance(model, WithLoss) == (GENERATORS[knobs.method].critic is None)
    critic = critic_of(knobs, shape_of(space))
    assert (critic is None) == (GENERATORS[knobs.method].critic is None)
    assert critic is None or isinstance(critic, Critic)
    assert (labels is None) == (not knobs.conditional)


@asked_of(lambda method: not method.critic)
def test_the_loss_draws_from_its_stream_alone_and_changes_no_weight(
    built: tuple[Any, Any, Any, Any],
) -> None:
    _, space, model, labels = built
    before, state = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    first, again = (model.loss(points_of(space), labels, stream(7)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.shape == ()
    assert torch.equal(first, again)
    first.backward()
    slopes = [weight.grad.abs().sum() for weight in model.parameters() if weight.grad is not None]
    assert sum(slopes) > 0
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@asked_of(lambda method: not method.critic)
def test_labels_are_needed_or_refused(built: tuple[Any, Any, Any, Any]) -> None:
    _, space, model, labels = built
    wrong = torch.tensor([0, 1, 2, 3]) if labels is None else None
    message = "labels: needed by a model with classes, and refused by one without"
    with pytest.raises(ValueError, match=message):
        model.loss(points_of(space), wrong, stream(7))
    with pytest.raises(ValueError, match=message):
        model.eval().sample(shape_of(space), wrong, [stream(n) for n in range(4)])


@asked_of(lambda method: method.critic)
def test_a_critic_learns_itself_and_judges_the_generator(built: tuple[Any, Any, Any, Any]) -> None:
    knobs, space, model, _ = built
    critic = critic_of(knobs, shape_of(space))
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(critic.state_dict())
    critic.learn(model.train(), points_of(space), stream(7), 1)
    frozen = dict(critic.named_parameters()).keys()
    moved = [n for n in frozen if not torch.equal(before[1][n], critic.state_dict()[n])]
    assert moved
    parameters = dict(model.named_parameters())
    assert all(torch.equal(before[0][name], value) for name, value in parameters.items())
    loss = critic.judge(model, 4, stream(8))
    assert loss.shape == ()
    loss.backward()
    assert sum(float(p.grad.abs().sum()) for p in parameters.values() if p.grad is not None) > 0


@pytest.mark.parametrize("quick", [False, True])
@asked_of(lambda method: True)
def test_a_sample_is_a_function_of_its_stream_and_label(
    built: tuple[Any, Any, Any, Any], quick: bool
) -> None:
    _, space, model, labels = built
    model.eval()
    before = torch.get_rng_state()
    with torch.inference_mode():
        whole = model.sample(shape_of(space), labels, [stream(n) for n in range(4)], quick)
        rows = [1, 3]
        part = None if labels is None else labels[rows]
        selected = model.sample(shape_of(space), part, [stream(n) for n in rows], quick)
    assert torch.equal(before, torch.get_rng_state())
    assert whole.shape == (4, *shape_of(space))
    assert whole.isfinite().all()
    torch.testing.assert_close(selected, whole[rows], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(whole[0], whole[1])
    images = space.decode(whole)
    assert images.shape == (4, 3, SIDE, SIDE)
    assert images.isfinite().all()


@asked_of(lambda method: method.points == "codes")
def test_codes_are_codes(built: tuple[Any, Any, Any, Any]) -> None:
    _, space, model, labels = built
    codes = model.eval().sample(shape_of(space), labels, [stream(n) for n in range(4)])
    assert torch.equal(codes, codes.round())
    assert codes.min() >= 0
    assert codes.max() < space.codebook_size


@asked_of(lambda method: method.likelihood)
def test_bits_are_of_a_distribution(built: tuple[Any, Any, Any, Any]) -> None:
    """Untrained, about log2 K for each code."""
    _, space, model, labels = built
    points = points_of(space)
    with torch.inference_mode():
        bits = model.eval().bits(points, labels)
    assert bits.shape == (4,)
    each = bits / points[0].numel()
    assert (each > 0).all()
    assert each.mean().item() == pytest.approx(torch.tensor(space.codebook_size).log2(), rel=0.5)
