"""Judge the claims of the paper by what was measured.

Each dataset and metric of a claim gets a verdict. The verdict rests on one effect for each seed, in
the unit of the metric and positive where the claim is right. Rows are compared within seeds,
because the runs of a seed see the same order of data and begin with the same encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from workflows.config.lines import Published
from workflows.config.names import METRICS
from workflows.config.plan import Plan, PlannedClaim
from workflows.records.intervals import Interval, interval
from workflows.records.published import as_number

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
UNDECIDED, UNTESTED = "undecided", "not tested at this budget"
COLUMNS = ["claim", "standing", "dataset", "protocol", "metric", "verdict", "effect", "low", "high"]
COLUMNS += ["seeds", "diverged", "published"]
# How the labels of rows continue in a table that sweeps the length of training.
LENGTH = ", length = "


def verdicts(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each claim of the plan, dataset and metric; unknown numbers are NaN.

    measured, published: lines Measured and Published. Columns of the result: `low` and `high` bound
    the effect's 95 % interval, `diverged` counts the seeds that are left out because a row of
    theirs diverged, and `published` is the effect in the published numbers.
    """
    lines = [
        line
        for claim in plan.claims
        for role in claim.about.roles
        for line in _on_dataset(claim, plan.roles[role], plan, measured, published)
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def at_lengths(claim: PlannedClaim, plan: Plan, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts on a claim for each measured `length` of training.

    A length counts in tables that sweep lengths and have all rows of the claim at this length.
    """
    nothing_published = pd.DataFrame(columns=list(Published.model_fields))
    prefix, frames = f"{claim.of[0]}{LENGTH}", []
    for name, table in plan.tables.items():
        for length in [row.removeprefix(prefix) for row in table.order if row.startswith(prefix)]:
            of = [f"{row}{LENGTH}{length}" for row in claim.of]
            than = [f"{row}{LENGTH}{length}" for row in claim.than]
            if {*of, *than} <= set(table.order):
                moved = claim.model_copy(update={"table": name, "of": of, "than": than})
                only_moved = plan.model_copy(update={"claims": [moved]})
                found = verdicts(only_moved, measured, nothing_published)
                frames.append(found[found["verdict"] != UNTESTED].assign(length=length))
    return pd.concat(frames) if frames else pd.DataFrame(columns=[*COLUMNS, "length"])


def _on_dataset(
    claim: PlannedClaim, dataset: str, plan: Plan, measured: pd.DataFrame, published: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield a verdict on a claim for each metric, on one dataset."""
    ours = measured[(measured["table"] == claim.table) & (measured["dataset"] == dataset)]
    of_claim = ours["row"].isin([*claim.of, *claim.than])
    diverged = ours[(ours["status"] == "diverged") & of_claim]
    protocol = plan.main_protocol(claim.table)
    ours = ours[(ours["status"] == "ok") & (ours["protocol"] == protocol)]
    papers_dataset = plan.published_dataset(dataset, claim.table)
    theirs = published[
        (published["table"] == claim.table) & (published["dataset"] == papers_dataset)
    ]
    # Published numbers count as those of one seed.
    theirs = theirs.assign(seed=0, value=theirs["value"].map(as_number).astype(float))
    for metric in claim.about.metrics:
        effect = interval(effects(claim, metric, ours))
        yield {
            "claim": claim.about.id,
            "standing": claim.about.standing,
            "dataset": dataset,
            "protocol": protocol if len(ours) else "",
            "metric": metric,
            "verdict": judge(effect),
            "effect": effect.mean,
            "low": effect.low,
            "high": effect.high,
            "seeds": effect.seeds,
            "diverged": diverged["seed"].nunique(),
            "published": interval(effects(claim, metric, theirs)).mean,
        }


def judge(effect: Interval) -> str:
    """Return the verdict on a claim by the interval of its effect; one seed decides nothing."""
    if not effect.seeds:
        return UNTESTED
    if effect.low > 0:
        return REPRODUCED
    return CONTRADICTED if effect.high < 0 else UNDECIDED


def effects(claim: PlannedClaim, metric: str, lines: pd.DataFrame) -> list[float]:
    """Return the effect for each seed that all rows of the claim have, positive where it is right.

    better: by how much `of` is better. at_least, at_most: the distance from `value` on the right
    side. steadier: the range over the rows `than`, less the range over the rows `of`. rises,
    does_not_rise: the mean gain, or loss, from one value of a sweep to the next (least squares over
    their ranks); no effect if the budget has one value of the sweep.

    lines: of one dataset and protocol, with columns `metric`, `row`, `seed` and `value`.
    """
    if claim.about.kind in ("rises", "does_not_rise") and len(claim.of) < 2:
        return []
    by_seed = lines[lines["metric"] == metric].pivot_table("value", "seed", "row")
    complete = by_seed.reindex(columns=[*claim.of, *claim.than]).dropna()
    # The PSNR of equal images is infinite, and the difference of two infinities is NaN.
    with np.errstate(invalid="ignore"):
        return [
            float(_effect(claim, metric, seed[claim.of].to_numpy(), seed[claim.than].to_numpy()))
            for _, seed in complete.iterrows()
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
