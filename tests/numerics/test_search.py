"""Searches in parts against the whole matrix, and what else is left out to save time."""

from __future__ import annotations

import pytest
import torch

from models.quantiser import anchors, refresh, search
from models.quantiser.blends import UsageDecay
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Assignment, straight_through


@pytest.mark.parametrize("similarity", [cosine, squared_euclidean])
def test_searches_in_parts_are_those_of_the_whole_matrix(similarity, monkeypatch) -> None:
    vectors, candidates, uniform = torch.randn(730, 6), torch.randn(310, 6), torch.rand(2, 730)
    whole = search.draw_candidates(vectors, candidates, uniform, similarity)
    monkeypatch.setattr(search, "FEWEST_ROWS", 48)
    monkeypatch.setitem(search.NUMBERS, "cpu", 1)
    assert torch.equal(search.draw_candidates(vectors, candidates, uniform, similarity), whole)
    expected = similarity(vectors, candidates).argmax(1)
    assert torch.equal(search.nearest(vectors, candidates, similarity), expected)


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


def test_indices_are_drawn_as_likely_as_they_are() -> None:
    likely = torch.tensor([[0.5, 0.0, 0.3, 0.2], [0.1, 0.6, 0.3, 0.0]])
    numbers = torch.arange(1000).float().add(0.5).div(1000)
    indices = search.draw(likely.log().expand(1000, 2, 4), numbers[:, None].expand(1000, 2))
    frequencies = torch.nn.functional.one_hot(indices, 4).float().mean(0)
    torch.testing.assert_close(frequencies, likely, atol=1e-3, rtol=0)


def test_the_ends_of_the_numbers_give_indices() -> None:
    logits = torch.linspace(-3, 3, 7).expand(2, 7)
    below_one = 1 - 2**-24
    assert search.draw(logits, torch.tensor([0.0, below_one])).tolist() == [0, 6]


def test_gradients_pass_straight_through() -> None:
    latents, vectors = torch.randn(9, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    passed, upstream = straight_through(latents, vectors), torch.randn(9, 4)
    passed.backward(upstream)
    assert torch.equal(passed, vectors)
    assert torch.equal(latents.grad, upstream)
    assert vectors.grad is None


def test_anchors_that_nobody_uses_change_nothing(monkeypatch) -> None:
    """A codebook refreshed with the needed anchors alone equals one refreshed with all."""
    codebooks, needed = [], []
    for everyone in (False, True):
        if everyone:
            monkeypatch.setattr(refresh, "_moving", lambda weights: torch.arange(len(weights)))
        torch.manual_seed(0)
        rule = refresh.Refresh(anchors.closest, UsageDecay(40), refresh.every_step)
        codebook = torch.randn(40, 5)
        for _ in range(12):
            codes = torch.randint(30, (900,))
            rule.update(codebook, Assignment(torch.randn(900, 5), codes), cosine)
        codebooks.append(codebook)
        needed.append(len(refresh._moving(rule.blend.weights())))
    assert needed == [10, 40]
    assert torch.allclose(*codebooks, rtol=0, atol=1e-6)
