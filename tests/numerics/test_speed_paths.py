"""Every kernel of the quantisers, and every other fast path, against its plain form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.convnet import Upsampling
from models.quantiser import anchors, kernels
from models.quantiser.blends import UsageDecay
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Assignment
from models.quantiser.refresh import Refresh, every_step

SIMILARITIES = pytest.mark.parametrize("similarity", [cosine, squared_euclidean])


@SIMILARITIES
@pytest.mark.parametrize("rows", [1024, 1000, 16])
def test_a_product_as_a_convolution_is_one_of_matrices(similarity, rows, monkeypatch) -> None:
    """Values and gradients; only 1,024 rows are many enough and a multiple of 16."""
    latents, codevectors = torch.randn(rows, 64), torch.randn(40, 64)
    upstream = torch.randn(rows, 40)
    results = {}
    for convolves in (True, False):
        if not convolves:
            monkeypatch.setattr(kernels, "_convolves", lambda _: False)
        assert kernels._convolves(latents) == (convolves and rows == 1024)
        sides = [side.clone().requires_grad_() for side in (latents, codevectors)]
        scores = similarity(*sides)
        scores.backward(upstream)
        results[convolves] = (scores.detach(), *(side.grad for side in sides))
    for fast, plain in zip(*results.values(), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_bias_added_afterwards_is_one_added_inside(precision) -> None:
    """Upsampling against torch's layer: output and gradients, and their types."""
    ours = Upsampling(6, 5)
    plain = nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
    plain.load_state_dict(ours.state_dict())
    images, upstream = torch.randn(3, 6, 8, 8), torch.randn(3, 5, 16, 16)
    results = []
    for layer in (ours, plain):
        leaf = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            output = layer(leaf)
        assert output.dtype is precision
        output.backward(upstream.to(precision))
        results.append((output.detach(), leaf.grad, layer.weight.grad, layer.bias.grad))
    # bfloat16 has eight bits of a number.
    loose = {"rtol": 0.02, "atol": 0.05} if precision is torch.bfloat16 else {}
    for fast, expected in zip(*results, strict=True):
        torch.testing.assert_close(fast, expected, **loose)


@SIMILARITIES
def test_the_fused_assignment_is_its_plain_composition(similarity) -> None:
    """Codes, values and gradients, over several chunks."""
    latents = torch.randn(3000, 7, dtype=torch.double)
    codevectors = torch.randn(300, 7, dtype=torch.double)
    assert len(list(kernels.chunks(latents, 300))) > 1
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
    nearest = kernels.quantise(*leaves[1], similarity)
    fused = (nearest.vectors, nearest.commitment, nearest.codebook)
    assert torch.equal(nearest.codes, codes)
    upstream = torch.randn_like(latents)
    for outputs in (plain, fused):
        (outputs[0] * upstream).sum().add(0.25 * outputs[1] + 3 * outputs[2]).backward()
    for a, b in zip(plain, fused, strict=True):
        assert torch.allclose(a, b, rtol=1e-12)
    for a, b in zip(*leaves, strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-10, atol=1e-14)


@SIMILARITIES
def test_nearest_latents_are_found_on_a_processor_and_a_gpu(similarity, monkeypatch) -> None:
    monkeypatch.setattr(kernels, "FEWEST_ROWS", 48)
    monkeypatch.setitem(kernels.CHUNK, "cpu", 1)
    latents, codevectors = torch.randn(730, 6), torch.randn(31, 6)
    assert len(list(kernels.chunks(latents, 31))) == 16
    expected = similarity(latents, codevectors).argmax(0)
    assert torch.equal(kernels.nearest_latents(latents, codevectors, similarity), expected)
    prepared = similarity.prepare(codevectors)
    assert torch.equal(kernels._in_one_pass(latents, prepared, similarity), expected)


@SIMILARITIES
def test_latents_are_drawn_alike_on_a_processor_and_a_gpu(similarity) -> None:
    latents, codevectors = torch.randn(700, 5), torch.randn(40, 5)
    drawn, uniform = torch.randint(3, (40,)), torch.rand(40)
    both = [
        within(latents, codevectors, drawn, uniform, similarity)
        for within in (kernels._within_grouped, kernels._within_gathered)
    ]
    assert torch.equal(*both)
    assert (drawn * kernels.BLOCK + both[0]).max() < 700


def test_draws_are_from_the_softmax_over_the_batch() -> None:
    """Chi-square of 20,000 draws over more latents than a block."""
    latents = torch.randn(700, 2) * 0.5
    code = torch.randn(1, 2).expand(20_000, 2).contiguous()
    generator = torch.Generator().manual_seed(1)
    drawn = anchors.probability(latents, code, torch.arange(20_000), squared_euclidean, generator)
    expected = squared_euclidean(latents, code[:1])[:, 0].softmax(0) * 20_000
    observed = torch.bincount(torch.cdist(drawn, latents).argmin(1), minlength=700)
    chi_square = ((observed - expected) ** 2 / expected).sum().item()
    # 699 degrees of freedom: mean 699, standard deviation 37.
    assert abs(chi_square - 699) < 5 * 37


def test_argmax_and_counts_are_those_of_torch() -> None:
    rows = torch.randint(9, (50, 20)).float()
    assert torch.equal(kernels.argmax(rows), rows.argmax(1))
    codes = torch.randint(7, (100,))
    assert torch.equal(kernels.count(codes, 9), torch.bincount(codes, minlength=9))


def test_the_smallest_share_their_bound() -> None:
    rows = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    selection = kernels.smallest(rows, 3)
    third = 2 / 3
    expected = torch.tensor([[0, 1, third, third, third], [0, 0, 1, 1, 1]])
    assert torch.allclose(selection.weights, expected)
    assert selection.bound.flatten().tolist() == [2, 3]


@SIMILARITIES
def test_the_contrastive_term_is_that_of_a_full_sort(similarity) -> None:
    """Value and gradient, for more codes than the kernel takes at a time."""
    latents = torch.randn(90, 4).double().requires_grad_()
    codebooks = [torch.randn(40, 4).double().requires_grad_()]
    codebooks.append(codebooks[0].detach().clone().requires_grad_())
    term = kernels.contrastive(latents, codebooks[0], similarity, 0.07)
    scores = similarity(latents.detach(), codebooks[1]).T.sort(1).values
    logits = torch.cat([scores[:, -2:].mean(1, keepdim=True), scores[:, :45]], 1) / 0.07
    expected = F.cross_entropy(logits, torch.zeros(40, dtype=torch.long))
    assert term.item() == pytest.approx(expected.item(), rel=1e-9)
    term.backward()
    expected.backward()
    torch.testing.assert_close(codebooks[0].grad, codebooks[1].grad)
    assert latents.grad is None


def test_anchors_that_nobody_uses_change_nothing(monkeypatch) -> None:
    """A codebook refreshed with the needed anchors alone equals one refreshed with all."""
    codebooks, needed = [], []
    for everyone in (False, True):
        if everyone:
            monkeypatch.setattr(kernels, "moving", lambda weights: torch.arange(len(weights)))
        torch.manual_seed(0)
        refresh = Refresh(anchors.closest, UsageDecay(40), every_step)
        codebook = torch.randn(40, 5)
        for _ in range(12):
            codes = torch.randint(30, (900,))
            refresh.update(codebook, Assignment(torch.randn(900, 5), codes), cosine)
        codebooks.append(codebook)
        needed.append(len(kernels.moving(refresh.blend.weights())))
    assert needed == [10, 40]
    assert torch.allclose(*codebooks, rtol=0, atol=1e-6)
