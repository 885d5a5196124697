"""The studies of what a change or a precision moves, on made-up numbers and small networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import moved, precision


def measured(values: dict[str, list[float]]) -> pd.DataFrame:
    lines = [
        {"dataset": "d", "row": row, "protocol": "exact", "metric": "l1", "seed": seed}
        | {"value": value, "status": "ok"}
        for row, found in values.items()
        for seed, value in enumerate(found)
    ]
    return pd.DataFrame(lines)


def test_a_mean_outside_the_interval_has_moved() -> None:
    before = measured({"still": [1.0, 2.0, 3.0], "moving": [1.0, 1.1, 0.9]})
    after = measured({"still": [2.0, 3.0, 4.0], "moving": [2.0, 2.1, 1.9]})
    table = moved.compare(before, after).set_index("row")
    assert table["moved"].to_dict() == {"still": False, "moving": True}
    assert table.loc["still", "after"] == 3.0


def test_other_seeds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not the same seeds"):
        moved.compare(measured({"a": [1.0, 2.0]}), measured({"a": [1.0, 2.0, 3.0]}))


def test_by_chance() -> None:
    """Drawn a hundred thousand times."""
    old, new = np.random.default_rng(0).standard_normal((2, 100_000, 3))
    half = 4.302653 * old.std(1, ddof=1) / np.sqrt(3)
    left = np.abs(new.mean(1) - old.mean(1)) > half
    assert moved.by_chance(3) == pytest.approx(left.mean(), abs=0.005)


class Seen(nn.Linear):
    """Remembers the type of its output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = super().forward(x)
        self.dtype = found.dtype
        return found


def test_only_named_blocks_are_lowered() -> None:
    network = nn.Sequential(Seen(4, 4), Seen(4, 4), Seen(4, 4))
    with precision.lowered(network, ["0", "2"]):
        network(torch.ones(1, 4))
    assert [layer.dtype for layer in network] == [torch.bfloat16, torch.float32, torch.bfloat16]
    network(torch.ones(1, 4))
    assert {layer.dtype for layer in network} == {torch.float32}


def lines(bf16: dict[str, list[float]]) -> pd.DataFrame:
    """Two rows of three seeds whose float32 intervals are 4.97 wide, and bfloat16 distances."""
    fp32 = {"a": [1.0, 2.0, 3.0], "b": [11.0, 12.0, 13.0]}
    return pd.DataFrame(
        [
            {"row": row, "seed": seed, "precision": name, "distance": value}
            for name, table in (("fp32", fp32), ("bf16", bf16))
            for row, values in table.items()
            for seed, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("bf16", "same_order", "sound"),
    [
        ({"a": [1.4, 2.4, 3.4], "b": [11.4, 12.4, 13.4]}, True, True),
        ({"a": [1.4, 2.4, 3.6], "b": [11.4, 12.4, 13.4]}, True, False),
        ({"a": [14.0, 15.0, 16.0], "b": [11.0, 12.0, 13.0]}, False, False),
    ],
)
def test_what_is_sound(bf16, same_order: bool, sound: bool) -> None:
    verdict = precision.judge(lines(bf16)).iloc[0]
    assert (verdict["same_order"], verdict["sound"]) == (same_order, sound)


def test_one_seed_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        precision.judge(lines({"a": [1.0], "b": [2.0]}).query("seed == 0"))
