"""What is written twice, for processors and for GPUs, or fused, gives the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.convnet import Upsampling
from models.quantiser import anchors, distances, selection
from models.quantiser.blends import UsageDecay
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Assignment
from models.quantiser.nearest import quantise
from models.quantiser.refresh import NEGLIGIBLE, Refresh, every_step

SIMILARITIES = pytest.mark.parametrize("similarity", [cosine, squared_euclidean])


@SIMILARITIES
def test_latents_are_found_alike_on_both(similarity, monkeypatch) -> None:
    monkeypatch.setattr(distances, "FEWEST_ROWS", 48)
    monkeypatch.setitem(distances.CHUNK, "cpu", 1)
    latents, codevectors = torch.randn(730, 6), torch.randn(31, 6)
    parts = list(distances.chunks(latents, 31))
    assert len(parts) == 16
    expected = similarity(latents, codevectors).argmax(0)
    assert torch.equal(distances.nearest_latents(latents, codevectors, similarity), expected)
    prepared = similarity.prepare(codevectors)
    for find in (distances._rows_grouped, distances._rows_swept):
        part = expected // 48
        assert torch.equal(find(latents, prepared, part, parts, similarity), expected)


@SIMILARITIES
@pytest.mark.parametrize("rows", [128, 1024, 1000, 16])
def test_a_product_is_one_whichever_library_takes_it(similarity, rows, monkeypatch) -> None:
    """As a convolution of one pixel or as matrices: values, gradients, and which latent is best."""
    latents, codevectors = torch.randn(rows, 64), torch.randn(40, 64)
    upstream = torch.randn(rows, 40)
    taken = {}
    for convolves in (True, False):
        if not convolves:
            monkeypatch.setattr(distances, "_convolves", lambda _: False)
        assert distances._convolves(latents) == (convolves and rows in (128, 1024))
        sides = [side.clone().requires_grad_() for side in (latents, codevectors)]
        scores = similarity(*sides)
        scores.backward(upstream)
        nearest = distances.nearest_latents(latents, codevectors, similarity)
        taken[convolves] = (scores.detach(), *(side.grad for side in sides), nearest)
    for one, other in zip(*taken.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_bias_added_afterwards_is_one_added_inside(precision) -> None:
    """Upsampling against torch's layer: output and gradients, of the type that it would have."""
    mine = Upsampling(6, 5)
    theirs = nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
    theirs.load_state_dict(mine.state_dict())
    images, upstream = torch.randn(3, 6, 8, 8), torch.randn(3, 5, 16, 16)
    found = []
    for layer in (mine, theirs):
        leaf = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            output = layer(leaf)
        assert output.dtype is precision
        output.backward(upstream.to(precision))
        found.append((output.detach(), leaf.grad, layer.weight.grad, layer.bias.grad))
    # bfloat16 has eight bits of a number.
    loose = {"rtol": 0.02, "atol": 0.05} if precision is torch.bfloat16 else {}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **loose)


@SIMILARITIES
def test_probable_latents_are_drawn_alike_on_both(similarity) -> None:
    latents, wanted = torch.randn(700, 5), torch.randn(40, 5)
    drawn, uniform = torch.randint(3, (40,)), torch.rand(40)
    both = [
        within(latents, wanted, drawn, uniform, similarity)
        for within in (anchors._within_grouped, anchors._within_gathered)
    ]
    assert torch.equal(*both)
    assert (drawn * anchors.BLOCK + both[0]).max() < 700


def test_counts_are_bincount() -> None:
    codes = torch.randint(7, (100,))
    assert torch.equal(selection.count(codes, 9), torch.bincount(codes, minlength=9))


@SIMILARITIES
def test_the_fused_pass_is_its_plain_composition(similarity) -> None:
    """Values and gradients, over several chunks."""
    latents = torch.randn(3000, 7, dtype=torch.double)
    codevectors = torch.randn(300, 7, dtype=torch.double)
    leaves = [
        (latents.clone().requires_grad_(), codevectors.clone().requires_grad_()) for _ in "ab"
    ]
    z, e = leaves[0]
    codes = similarity(z, e).argmax(1)
    chosen = F.embedding(codes, e)
    plain = (
        z + (chosen - z).detach(),
        F.mse_loss(z, chosen.detach()),
        F.mse_loss(chosen, z.detach()),
    )
    nearest = quantise(*leaves[1], similarity)
    fused = (nearest.vectors, nearest.commitment, nearest.codebook)
    assert torch.equal(nearest.codes, codes)
    upstream = torch.randn_like(latents)
    for outputs in (plain, fused):
        (outputs[0] * upstream).sum().add(0.25 * outputs[1] + 3 * outputs[2]).backward()
    for a, b in zip(plain, fused, strict=True):
        assert torch.allclose(a, b, rtol=1e-12)
    for a, b in zip(*leaves, strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-10, atol=1e-14)


def test_anchors_that_nobody_uses_change_nothing(monkeypatch) -> None:
    """A codebook refreshed with the needed anchors alone equals one refreshed with all."""
    codebooks, needed = [], []
    for everyone in (False, True):
        if everyone:
            monkeypatch.setattr(
                "models.quantiser.refresh._needed", lambda weights: torch.arange(len(weights))
            )
        torch.manual_seed(0)
        refresh = Refresh(anchors.closest, UsageDecay(40), every_step)
        codebook = torch.randn(40, 5)
        for _ in range(12):
            codes = torch.randint(30, (900,))
            refresh.update(codebook, Assignment(torch.randn(900, 5), codes), cosine)
        codebooks.append(codebook)
        needed.append(int((refresh.blend.weights() > NEGLIGIBLE).sum()))
    assert needed[0] == 10
    assert torch.allclose(*codebooks, rtol=0, atol=1e-6)


def test_the_smallest_share_their_bound() -> None:
    rows = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    found = selection.smallest(rows, 3)
    third = 2 / 3
    expected = torch.tensor([[0, 1, third, third, third], [0, 0, 1, 1, 1]])
    assert torch.allclose(found.weights, expected)
    assert found.bound.flatten().tolist() == [2, 3]
