"""Whether a change moves results: `python -m benchmarks.moved BEFORE.csv AFTER.csv --out FILE`.

Both are results/<budget>/collected/<table>/measured.csv with several seeds a row. A metric has
moved if the mean after is outside the 95 % interval of the mean before. Of independent runs some do
by chance, one in eleven with three seeds; metrics of one model move together.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from workflows.intervals import CONFIDENCE, interval

KEYS = ["dataset", "row", "protocol", "metric"]


def compare(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """A line per dataset, row, protocol and metric: both means, the interval, and `moved`.

    Raises ValueError where the two do not have the same seeds.
    """
    kept = [frame[frame["status"] == "ok"] for frame in (before, after)]
    groups = [dict(list(frame.groupby(KEYS, sort=False))) for frame in kept]
    lines = []
    for key in dict.fromkeys([*groups[0], *groups[1]]):
        old, new = (group.get(key, kept[0].iloc[:0]) for group in groups)
        if sorted(old["seed"]) != sorted(new["seed"]):
            raise ValueError(f"{' / '.join(map(str, key))}: not the same seeds before and after")
        range_before, range_after = (interval(part["value"].to_numpy()) for part in (old, new))
        lines.append(
            {
                **dict(zip(KEYS, key, strict=True)),
                "seeds": range_before.seeds,
                "before": range_before.mean,
                "low": range_before.low,
                "high": range_before.high,
                "after": range_after.mean,
                "after_low": range_after.low,
                "after_high": range_after.high,
                "moved": not range_before.holds(range_after.mean),
            }
        )
    return pd.DataFrame(lines)


def by_chance(seeds: int) -> float:
    """The share of means of `seeds` new runs that leave the interval of as many old ones."""
    edge = stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) / np.sqrt(2)
    return float(2 * stats.t.sf(edge, seeds - 1))


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    table = compare(pd.read_csv(arguments.before), pd.read_csv(arguments.after))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out, index=False, float_format="%.6g")
    moved = table[table["moved"]]
    print(moved.to_markdown(index=False, floatfmt=".4g"))
    chance = by_chance(int(table["seeds"].min()))
    print(f"{len(moved)} of {len(table)} left the seeds' interval; by chance {chance:.0%} would")
    return 0


if __name__ == "__main__":
    sys.exit(main())
