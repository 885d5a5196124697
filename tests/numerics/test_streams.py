"""Streams of different seeds, purposes and steps are different streams."""

from __future__ import annotations

import itertools

import torch

from models.streams import Purpose, generator, word


def test_words_never_meet() -> None:
    """Also where sums of a seed and a step would: step 1,000,003 of seed 0 is step 0 of seed 1."""
    steps = [*range(2000), 1_000_003, 2_000_006]
    words = [word(*of) for of in itertools.product((0, 1, 2, 1_000_003), Purpose, steps)]
    assert len(set(words)) == len(words) == 4 * len(Purpose) * len(steps)


def test_a_stream_depends_on_nothing_else() -> None:
    first = torch.rand(4, generator=generator(3, Purpose.CODES, 7))
    torch.manual_seed(99)
    assert torch.equal(first, torch.rand(4, generator=generator(3, Purpose.CODES, 7)))


def test_the_numbers_are_part_of_every_result() -> None:
    """Changing one of them changes every trained number: raise all versions, or do not."""
    assert word(0, Purpose.ENCODER) == 5836529245451711556
    assert word(2, Purpose.SAMPLE, 58_000) == 14679666528398117915
    assert [purpose.value for purpose in Purpose] == list(range(1, 11))
