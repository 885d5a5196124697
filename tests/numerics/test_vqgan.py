"""The larger network, its critic and its losses; residual codes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from vector_quantize_pytorch import ResidualVQ

from baselines.rq_vae import ResidualQuantiser
from models.adversary import Adversary, patch_critic
from models.vqgan import MULTIPLES, VqganDecoder, encoder


@pytest.mark.parametrize("downsampling", MULTIPLES)
def test_sizes(downsampling: int) -> None:
    images = torch.randn(1, 3, 64, 64)
    latents = encoder(3, 6, downsampling, 32, 1)(images)
    assert latents.shape == (1, 6, 64 // downsampling, 64 // downsampling)
    decoder = VqganDecoder(3, 6, downsampling, 32, 1)
    assert decoder(latents).shape == images.shape
    assert decoder.last_layer.shape == (3, 32, 3, 3)


def test_parameters_are_those_of_the_published_configuration() -> None:
    """The f = 16 encoder with D = 256, width 128 and two blocks, counted by hand."""
    with torch.device("meta"):
        network = encoder(3, 256, 16, 128, 2)
    count = sum(parameter.numel() for parameter in network.parameters())

    def conv(a: int, b: int, side: int = 3) -> int:
        return a * b * side * side + b

    def block(a: int, b: int) -> int:
        return 2 * a + conv(a, b) + 2 * b + conv(b, b) + (conv(a, b, 1) if a != b else 0)

    def attention(width: int) -> int:
        return 2 * width + 4 * (width * width + width)

    widths = [128, 128, 128, 256, 256, 512]
    wanted = conv(3, 128)
    for level, (a, b) in enumerate(pairwise(widths)):
        wanted += block(a, b) + block(b, b)
        wanted += conv(b, b) if level < 4 else 2 * attention(b)
    wanted += 2 * block(512, 512) + attention(512) + 2 * 512 + conv(512, 256) + conv(256, 256, 1)
    assert count == wanted


def test_a_score_sees_seventy_pixels() -> None:
    # Without what normalises, by all of the image.
    critic = nn.Sequential(*(m for m in patch_critic(1) if not isinstance(m, nn.BatchNorm2d)))
    image = torch.zeros(1, 1, 128, 128, requires_grad=True)
    scores = critic(image)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    rows = torch.nonzero(image.grad[0, 0].abs().sum(1))
    assert rows.max() - rows.min() + 1 == 70


def adversary(start: int) -> Adversary:
    torch.manual_seed(0)
    return Adversary(3, start, 0.8, 1e-3)


def test_the_critic_is_silent_before_its_start() -> None:
    critic, images = adversary(2), torch.randn(2, 3, 32, 32)
    before = {name: value.clone() for name, value in critic.critic.state_dict().items()}
    layer = nn.Parameter(torch.ones(1))
    for _ in range(2):
        assert critic(images * layer, (layer * 3).sum(), layer) == 0
        critic.adapt(images, images + 1)
    assert all(torch.equal(v, before[n]) for n, v in critic.critic.state_dict().items())
    assert critic(images * layer, (layer * 3).sum(), layer) != 0
    critic.adapt(images, images + 1)
    assert not all(torch.equal(v, before[n]) for n, v in critic.critic.state_dict().items())


def test_the_decoder_is_scored_by_the_batch_alone() -> None:
    """As in the published training: the score does not depend on earlier batches."""
    torch.manual_seed(0)
    critic, images = Adversary(3, 0, 0.8, learning_rate=0.0), torch.randn(4, 3, 32, 32)
    layer = nn.Parameter(torch.ones(1))
    before = critic(images * layer, layer.sum(), layer)
    for _ in range(3):
        critic.adapt(100 * images + 7, images)
    assert critic(images * layer, layer.sum(), layer) == before


def test_the_decoder_has_the_gradient_of_its_score() -> None:
    """The gradient is taken once, weighted by the balance, and not passed to the critic."""
    critic, images = adversary(0), torch.randn(4, 3, 32, 32)
    layer = nn.Parameter(torch.ones(1))
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    others = (layer * 3.0).sum()
    term = critic(images * layer, others, layer)
    plain = -critic.critic(images * layer).mean()
    pulls = [torch.autograd.grad(x, layer, retain_graph=True)[0] for x in (others, plain)]
    weight = 0.8 * (pulls[0].abs() / (pulls[1].abs() + 1e-4)).item()
    assert term.item() == pytest.approx(weight * plain.item(), rel=1e-5)
    term.backward()
    assert layer.grad.item() == pytest.approx(weight * pulls[1].item(), rel=1e-4)
    assert all(parameter.grad is None for parameter in critic.critic.parameters())
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())


def test_residual_codes_are_those_of_the_library() -> None:
    quantiser = ResidualQuantiser(16, 8, 4, seed=0).eval()
    theirs = ResidualVQ(dim=8, num_quantizers=4, codebook_size=16, shared_codebook=True).eval()
    theirs.load_state_dict(quantiser.inner.state_dict())
    latents = torch.randn(2, 8, 3, 5)
    vectors, codes, _ = theirs(latents.permute(0, 2, 3, 1).reshape(2, 15, 8))
    found = quantiser(latents)
    ours = found.codes.reshape(2, 4, 15).permute(0, 2, 1)
    assert torch.equal(ours, codes)
    torch.testing.assert_close(found.vectors.permute(0, 2, 3, 1).reshape(2, 15, 8), vectors)
