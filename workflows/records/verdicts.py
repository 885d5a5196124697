"""Which claims of the paper hold in what was measured, by how much, and with what confidence.

Each dataset and metric of a claim gets a verdict on an effect per seed, in the metric's unit and
positive where the claim is right. Rows of a seed share the order of the data and the initial
encoder, so they are compared within seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from workflows.config.names import METRICS
from workflows.config.plan import Plan, PlannedClaim
from workflows.records.intervals import Interval, interval
from workflows.records.published import as_number

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
UNDECIDED, UNTESTED = "undecided", "not tested at this budget"
# The paper's own protocol, where the budget has it.
PROTOCOLS = ("as_published", "samples", "exact")
COLUMNS = ["claim", "standing", "dataset", "protocol", "metric", "verdict", "effect", "low", "high"]
COLUMNS += ["seeds", "diverged", "published"]


def verdicts(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """What Measured and Published lines say of each claim of the plan, by dataset and metric; what
    is not known is NaN.

    low, high: the 95 % interval of the effect. diverged: seeds that are not judged, since a row of
    theirs diverged. published: the effect that the published numbers have.
    """
    lines = [
        line
        for claim in plan.claims
        for role in claim.about.roles
        for line in _of_dataset(claim, plan.roles[role], plan, measured, published)
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def _of_dataset(
    claim: PlannedClaim, dataset: str, plan: Plan, measured: pd.DataFrame, published: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """The verdicts on a claim on one dataset, by each of its metrics."""
    ours = measured[(measured["table"] == claim.table) & (measured["dataset"] == dataset)]
    failed = ours[(ours["status"] == "diverged") & ours["row"].isin([*claim.of, *claim.than])]
    ours = ours[ours["status"] == "ok"]
    real = plan.published_dataset(dataset, claim.table)
    theirs = published[(published["table"] == claim.table) & (published["dataset"] == real)]
    # What is printed counts as one seed.
    theirs = theirs.assign(seed=0, value=theirs["value"].map(as_number).astype(float))
    protocol = next((p for p in PROTOCOLS if (ours["protocol"] == p).any()), "")
    ours = ours[ours["protocol"] == protocol]
    for metric in claim.about.metrics:
        found = interval(effects(claim, metric, ours))
        yield {
            "claim": claim.about.id,
            "standing": claim.about.standing,
            "dataset": dataset,
            "protocol": protocol,
            "metric": metric,
            "verdict": judge(found),
            "effect": found.mean,
            "low": found.low,
            "high": found.high,
            "seeds": found.seeds,
            "diverged": failed["seed"].nunique(),
            "published": interval(effects(claim, metric, theirs)).mean,
        }


def judge(found: Interval) -> str:
    """What an effect's interval says of the claim; one seed decides nothing."""
    if not found.seeds:
        return UNTESTED
    if found.low > 0:
        return REPRODUCED
    return CONTRADICTED if found.high < 0 else UNDECIDED


def effects(claim: PlannedClaim, metric: str, lines: pd.DataFrame) -> list[float]:
    """The effect of every seed that all rows of the claim have; positive where the claim is right.

    better: by how much `of` is better. at_least, at_most: the distance from `value` on the right
    side. steadier: the range over the rows `than` less the range over the rows `of`. rises,
    does_not_rise: the mean gain, or loss, from one value of a sweep to the next (least squares over
    their ranks); none where the budget has one value of it. lines: of one dataset and protocol,
    with columns `metric, row, seed, value`.
    """
    if claim.about.kind in ("rises", "does_not_rise") and len(claim.of) < 2:
        return []
    wide = lines[lines["metric"] == metric].pivot_table("value", "seed", "row")
    whole = wide.reindex(columns=[*claim.of, *claim.than]).dropna()
    # The PSNR of equal images is infinite, and the difference of two such numbers is none.
    with np.errstate(invalid="ignore"):
        return [
            float(_effect(claim, metric, seed[claim.of].to_numpy(), seed[claim.than].to_numpy()))
            for _, seed in whole.iterrows()
        ]


def _effect(claim: PlannedClaim, metric: str, of: np.ndarray, than: np.ndarray) -> float:
    sign, bound = 1 if METRICS[metric] else -1, claim.about.value
    match claim.about.kind:
        case "better":
            return sign * (of[0] - than[0])
        case "at_least":
            return of[0] - bound
        case "at_most":
            return bound - of[0]
        case "steadier":
            return np.ptp(than) - np.ptp(of)
        case "rises":
            return sign * stats.linregress(np.arange(len(of)), of).slope
        case "does_not_rise":
            return -sign * stats.linregress(np.arange(len(of)), of).slope
