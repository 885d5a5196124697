"""Generative adversarial networks: closed forms of their parts, and that they learn."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional as F

from baselines import adversarial, projected_gan, stylegan2
from tests.generators import critic_of, knobs_of, stream
from workflows.data import weight_sources
from workflows.data.metric_networks import read_frozen
from workflows.generators import build_generator, build_generator_optimiser
from workflows.steps.train_generator import read_frozen_of
from workflows.training import stage2

pytestmark = pytest.mark.slow

GANS = ["stylegan2", "projected_gan"]
SHAPE = (3, 16, 16)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=stream(9))


def slopes(module: torch.nn.Module) -> Tensor:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return torch.cat([slope.flatten() for slope in gradients])


def test_sides_are_doubled_from_a_small_grid() -> None:
    assert adversarial.sides_of(28) == [7, 14, 28]
    assert adversarial.sides_of(32) == [4, 8, 16, 32]
    assert adversarial.sides_of(64) == [4, 8, 16, 32, 64]
    for side in (2, 4, 7, 30, 36, 44):
        with pytest.raises(ValueError, match=f"{side} x {side} pixels; allowed: sides of 4, 5, 6"):
            adversarial.sides_of(side)
    for method in GANS:
        with pytest.raises(ValueError, match="30 x 30 pixels"):
            build_generator(knobs_of(method), (3, 30, 30), None, None)


@pytest.mark.parametrize("method", GANS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_they_run_in_half_precision(method: str, shape: tuple[int, ...]) -> None:
    knobs = knobs_of(method, r1_every=1)
    model, critic = build_generator(knobs, shape, None, None), critic_of(knobs, shape)
    with torch.autocast("cpu", torch.bfloat16):
        critic.learn(model, normal(5, *shape), stream(1), 1)
        loss = critic.judge(model, 5, stream(2))
    loss.backward()
    assert loss.isfinite()
    assert slopes(critic).isfinite().all()
    assert slopes(model).isfinite().all()
    image = model.eval().sample(shape, None, [stream(3)])
    assert image.abs().max() <= 1
    assert image.dtype == torch.float32


@pytest.mark.parametrize("method", GANS)
def test_judging_leaves_no_slope_in_the_critic(method: str) -> None:
    knobs = knobs_of(method)
    model, critic = build_generator(knobs, SHAPE, None, None), critic_of(knobs, SHAPE)
    critic.judge(model, 4, stream()).backward()
    assert all(weight.grad is None for weight in critic.parameters())
    assert all(weight.requires_grad for weight in critic.parameters())


def test_augmentation_is_by_its_stream_alone() -> None:
    """Images of one colour show what is cut out and moved in, which both kinds have alike."""
    real, made = torch.full((6, 3, 16, 16), 0.7), torch.full((6, 3, 16, 16), -0.4)
    changed = [adversarial.augmented(images, stream(5)) for images in (real, made, real)]
    assert torch.equal(changed[0], changed[2])
    assert changed[0].shape == real.shape
    assert torch.equal(changed[0] == 0, changed[1] == 0)
    # Colours stay of one value within an image, and are another in each image.
    first = [image[image != 0].unique() for image in changed[0]]
    assert all(len(colours) <= 2 for colours in first)
    assert len({round(float(colours.mean()), 4) for colours in first}) == 6
    shifts = [float(colours.mean()) - 0.7 for colours in first]
    assert max(map(abs, shifts)) <= 0.5
    # A quarter is cut out where the square is within the image.
    dark = (changed[0] == 0).float().mean((1, 2, 3))
    assert dark.min() > 0.05
    assert dark.max() < 0.6
    assert not torch.equal(changed[0], adversarial.augmented(real, stream(6)))


def test_augmentation_moves_by_whole_pixels() -> None:
    images = normal(2, 3, 16, 16)
    moved = adversarial._moved(images, torch.tensor([0.0, 0.99]), torch.tensor([0.5, 0.3]))
    expected = torch.zeros_like(images)
    # From -2 to 2 in five equal parts; what is picked two rows above came from above.
    expected[0, :, 2:] = images[0, :, :14]
    expected[1, :, :14, 1:] = images[1, :, 2:, :15]
    assert torch.equal(moved, expected)


def test_augmentation_can_be_differentiated() -> None:
    images = normal(2, 3, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: adversarial.augmented(x, stream(5)), images)


@pytest.mark.parametrize("up", [False, True])
def test_a_modulated_convolution_is_a_loop_over_samples(up: bool) -> None:
    layer = stylegan2.Modulated(5, 7, 3, 4, up)
    values, styles = normal(3, 5, 6, 6), normal(3, 4)
    loop = []
    for row, style in zip(values, layer.style(styles), strict=True):
        weights = layer.conv.weights() * style[None, :, None, None]
        weights = weights / (weights.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            # A zero after each value, then both filters; the weights turned, as they are spread.
            spread = torch.zeros(1, 5, 12, 12)
            spread[0, :, ::2, ::2] = row
            output = F.conv2d(F.pad(spread, (2, 1, 2, 1)), weights.flip(2, 3))
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
            kernel = (taps[:, None] * taps).expand(7, 1, 4, 4)
            loop.append(F.conv2d(F.pad(output, (1, 1, 1, 1)), kernel, groups=7))
        else:
            loop.append(F.conv2d(row[None], weights, padding=1))
    output = layer(values, styles)
    assert output.shape == ((3, 7, 12, 12) if up else (3, 7, 6, 6))
    edge = slice(0, -1) if up else slice(None)
    torch.testing.assert_close(
        output[..., edge, edge], torch.cat(loop)[..., edge, edge], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_demodulated_outputs_have_unit_variance(size: float) -> None:
    layer = stylegan2.Modulated(16, 8, 3, 4, up=False)
    layer.conv.weight.data *= size
    output = layer(normal(64, 16, 16, 16), 10 * normal(64, 4))[..., 1:-1, 1:-1]
    assert output.var((0, 2, 3)).tolist() == pytest.approx([1.0] * 8, rel=0.1)
    assert output.var((1, 2, 3)).tolist() == pytest.approx([1.0] * 64, rel=0.6)


def test_layers_learn_at_equal_rates() -> None:
    """The output of a layer has the variance of its input, and the rate is undone at first."""
    for rate in (1.0, 0.01):
        layer = stylegan2.Scaled((200, 300), rate)
        assert layer(normal(50, 300)).var().item() == pytest.approx(1, rel=0.1)
        assert layer.weight.std().item() == pytest.approx(1 / rate, rel=0.02)


def test_the_deviation_is_of_groups() -> None:
    values = normal(6, 2, 4, 4)
    with_channel = stylegan2.with_deviation(values)
    assert torch.equal(with_channel[:, :2], values)
    # Six images are two groups of three: every second one.
    for first in (0, 1):
        expected = (values[first::2].var(0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(with_channel[first::2, 2], expected.expand(3, 4, 4))


def test_r1_is_the_mean_squared_norm_of_the_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a critic Σ a x², whose slope is 2 a x."""
    critic = critic_of(knobs_of("stylegan2", augment=False), SHAPE)
    weights, points = normal(*SHAPE).abs(), normal(4, *SHAPE)
    monkeypatch.setattr(critic, "forward", lambda images: (weights * images**2).sum((1, 2, 3)))
    expected = (2 * weights * points).square().sum((1, 2, 3)).mean()
    assert critic.penalty(points, stream()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_lazy_r1_weighs_its_steps_times_half_its_weight() -> None:
    knobs = knobs_of("stylegan2", augment=False, r1_weight=3.0, r1_every=4)
    model, points = build_generator(knobs, SHAPE, None, None), normal(4, *SHAPE)
    gradients = {}
    for step in (3, 4, 8):
        critic = critic_of(knobs, SHAPE)
        critic.learn(model, points, stream(), step)
        gradients[step] = slopes(critic)
    critic = critic_of(knobs, SHAPE)
    critic.penalty(points, stream()).backward()
    assert torch.equal(gradients[4], gradients[8])
    torch.testing.assert_close(
        gradients[4] - gradients[3], 4 * 3.0 / 2 * slopes(critic), rtol=1e-3, atol=1e-5
    )


def test_features_are_the_published_networks() -> None:
    weights = read_frozen("efficientnet_lite0")
    network = projected_gan.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(weights)
    images = normal(2, 3, 64, 64)
    with torch.no_grad():
        features = projected_gan.Features(weights)(images)
        values = network._swish(network._bn0(network._conv_stem(images)))
        for end, block in enumerate(network._blocks, 1):
            values = block(values)
            if end in projected_gan.STAGES:
                index = projected_gan.STAGES.index(end)
                torch.testing.assert_close(features[index], values, rtol=1e-3, atol=1e-3)
    assert [value.shape[1] for value in features] == list(projected_gan.CHANNELS)


def test_what_is_frozen_stays_and_is_hardly_stored() -> None:
    knobs = knobs_of("projected_gan")
    model, critic = build_generator(knobs, SHAPE, None, None), critic_of(knobs, SHAPE)
    before = copy.deepcopy(dict(critic.named_buffers()))
    assert not [name for name in critic.state_dict() if name.startswith("features.")]
    assert {name.split(".")[0] for name, _ in critic.named_parameters()} == {"critics"}
    critic.learn(model, normal(4, *SHAPE), stream(), 1)
    critic.judge(model, 4, stream()).backward()
    frozen = [name for name in before if not name.startswith("critics.")]
    assert all(torch.equal(before[name], dict(critic.named_buffers())[name]) for name in frozen)
    # Another seed has other mixtures of the same features.
    other = dict(critic_of(knobs_of("projected_gan", seed=4), SHAPE).named_buffers())
    same = {name.split(".")[0] for name in frozen if torch.equal(before[name], other[name])}
    assert same == {"features"}
    assert not any(torch.equal(before[n], other[n]) for n in frozen if n.startswith("projections"))


# Colours are uniform in a parallelogram: its middle and its two half sides.
MIDDLE = torch.tensor([0.2, -0.3, 0.1])
SIDES = torch.tensor([[0.6, -0.3, 0.0], [0.1, 0.4, -0.3]])


def apart_after(method: str, steps: int) -> tuple[float, float]:
    """How far mean and covariance of samples' colours are from the data's, in the worst number."""
    rate, batch = {"stylegan2": 0.005, "projected_gan": 0.002}[method], 16
    changes = {"noise_dim": 16, "gan_channels": 32, "augment": False, "r1_every": 4}
    knobs = knobs_of(method, learning_rate=rate, batch_size=batch, **changes)
    model, critic = build_generator(knobs, SHAPE, None, None), critic_of(knobs, SHAPE)
    optimiser = build_generator_optimiser(knobs, model)
    learner = stage2.Learner(model, optimiser, EMAModel(model.parameters(), 0.95), critic)
    places = 2 * torch.rand(256, 2, generator=stream(3)) - 1
    images = (MIDDLE + places @ SIDES)[:, :, None, None] + 0.05 * normal(256, *SHAPE)
    data = stage2.Points(images.numpy(), None)
    for count in range(1, steps + 1):
        rows = (torch.arange(batch) + batch * count) % 256
        stage2.train_step(learner, data, knobs, rows, count)
    learner.ema.copy_to(model.parameters())
    with torch.inference_mode():
        samples = model.eval().sample(SHAPE, None, [stream(n) for n in range(64)])
    sample_colours, colours = (values.mean((2, 3)) for values in (samples, images))
    mean = (sample_colours.mean(0) - colours.mean(0)).abs().max()
    return float(mean), float((sample_colours.T.cov() - colours.T.cov()).abs().max())


class Plain(torch.nn.Module):
    """Stands in for the frozen network, whose features of plain colours lead nowhere in seconds:
    random colours of every pixel, at the same scales.
    """

    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.mixtures = [torch.randn(width, 3, 1, 1) for width in projected_gan.CHANNELS]
        self.shifts = [torch.randn(width) for width in projected_gan.CHANNELS]

    def forward(self, images: Tensor) -> list[Tensor]:
        return [
            F.conv2d(F.avg_pool2d(images, 4 * 2**scale), mixture, shift).relu()
            for scale, (mixture, shift) in enumerate(zip(self.mixtures, self.shifts, strict=True))
        ]


@pytest.mark.parametrize(("method", "steps"), [("stylegan2", 125), ("projected_gan", 60)])
def test_samples_get_the_colours_of_the_data(
    method: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their covariance too, which a generator has not whose samples are all the same."""
    monkeypatch.setattr(projected_gan, "Features", Plain)
    monkeypatch.setattr(projected_gan, "MIXED", (8, 8, 16, 16))
    mean, covariance = apart_after(method, 0)
    assert mean > 0.3
    assert covariance > 0.1
    mean, covariance = apart_after(method, steps)
    assert mean < 0.12
    assert covariance < 0.06


def test_the_record_of_a_training_names_the_frozen_network() -> None:
    network = weight_sources.SOURCES["efficientnet_lite0"]
    _, features = read_frozen_of(knobs_of("projected_gan"))
    assert features == {network.features: network.sha256}
    assert read_frozen_of(knobs_of("stylegan2")) == ({}, {})
