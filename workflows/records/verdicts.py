"""Which claims of the paper hold in what was measured, by how much, and with what confidence.

A claim (workflows/claims/*.yaml) speaks of rows of one table and of metrics; every dataset and
metric of it gets a verdict. What is judged is an effect per seed, in the metric's unit and positive
where the claim is right. Rows are compared within seeds, because rows of the same seed share the
order of the data and the initial encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
# Row -> seed -> value.
Values = Mapping[str, Mapping[int, float]]


def verdicts(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """What Measured and Published lines say of each claim of the plan, by dataset and metric; what
    is not known is NaN.

    effect, low, high: in the metric's unit, positive where the claim is right, with the 95 %
    interval over seeds. diverged: seeds that are not judged, since a row of theirs diverged.
    published: the effect that the published numbers have.
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
    protocol = next((p for p in PROTOCOLS if (ours["protocol"] == p).any()), "")
    for metric in claim.about.metrics:
        kept = ours[(ours["protocol"] == protocol) & (ours["metric"] == metric)]
        ours_by_seed = list(effects(claim, metric, _by_seed(kept)))
        said = list(effects(claim, metric, _printed(theirs, metric)))
        found = interval(ours_by_seed) if ours_by_seed else None
        yield {
            "claim": claim.about.id,
            "standing": claim.about.standing,
            "dataset": dataset,
            "protocol": protocol,
            "metric": metric,
            "verdict": judge(found),
            "effect": found.mean if found else np.nan,
            "low": found.low if found else np.nan,
            "high": found.high if found else np.nan,
            "seeds": found.seeds if found else 0,
            "diverged": failed["seed"].nunique(),
            "published": said[0] if said else np.nan,
        }


def judge(found: Interval | None) -> str:
    """What an effect's interval says of the claim; one seed decides nothing."""
    if found is None:
        return UNTESTED
    if found.low > 0:
        return REPRODUCED
    return CONTRADICTED if found.high < 0 else UNDECIDED


def effects(claim: PlannedClaim, metric: str, values: Values) -> Iterator[float]:
    """The effect of every seed that all rows of the claim have; positive where the claim is right.

    better: by how much `of` is better. at_least, at_most: the distance from `value` on the right
    side. steadier: the range over the rows `than` less the range over the rows `of`. rises,
    does_not_rise: the mean gain, or loss, from one value of a sweep to the next (least squares over
    their ranks); none where the budget has one value of it.
    """
    if claim.about.kind in ("rises", "does_not_rise") and len(claim.of) < 2:
        return
    sign = 1 if METRICS[metric] else -1
    shared = set.intersection(*(set(values.get(row, {})) for row in (*claim.of, *claim.than)))
    for seed in sorted(shared):
        of, than = (
            np.array([values[row][seed] for row in rows]) for rows in (claim.of, claim.than)
        )
        # The PSNR of equal images is infinite, and the difference of two such numbers is none.
        with np.errstate(invalid="ignore"):
            yield float(_effect(claim, sign, of, than))


def _effect(claim: PlannedClaim, sign: int, of: np.ndarray, than: np.ndarray) -> float:
    bound = claim.about.value
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


def _by_seed(measured: pd.DataFrame) -> Values:
    return {
        str(row): dict(zip(lines["seed"], lines["value"], strict=True))
        for row, lines in measured.groupby("row")
    }


def _printed(published: pd.DataFrame, metric: str) -> Values:
    lines = published[published["metric"] == metric]
    rows = zip(lines["row"], lines["value"], strict=True)
    return {row: {0: as_number(value)} for row, value in rows}
