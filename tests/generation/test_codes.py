"""Codes are drawn from their distributions, a row from each stream."""

from __future__ import annotations

import pytest
import torch

from models.generation.codes import draw_codes, uniforms
from models.streams import Purpose, generator


def test_codes_are_drawn_as_likely_as_they_are() -> None:
    likely = torch.tensor([[0.5, 0.0, 0.3, 0.2], [0.1, 0.6, 0.3, 0.0]])
    numbers = torch.arange(1000).float().add(0.5).div(1000)
    codes = draw_codes(likely.log().expand(1000, 2, 4), numbers[:, None].expand(1000, 2))
    frequencies = torch.nn.functional.one_hot(codes, 4).float().mean(0)
    torch.testing.assert_close(frequencies, likely, atol=1e-3, rtol=0)


def test_the_ends_of_the_numbers_give_codes() -> None:
    logits = torch.linspace(-3, 3, 7).expand(2, 7)
    below_one = 1 - 2**-24
    assert draw_codes(logits, torch.tensor([0.0, below_one])).tolist() == [0, 6]


def test_a_row_of_numbers_is_of_its_stream() -> None:
    def streams() -> list[torch.Generator]:
        return [generator(0, Purpose.SAMPLE, number) for number in range(3)]

    numbers = uniforms((4, 5), streams())
    assert numbers.shape == (3, 4, 5)
    assert torch.equal(uniforms((4, 5), streams()[2:])[0], numbers[2])
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.15)
