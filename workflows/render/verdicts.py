"""Verdicts on the paper's claims as a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from workflows.config.plan import Plan, PlannedClaim
from workflows.records.verdicts import UNDECIDED
from workflows.render import escape
from workflows.render.captions import short, training
from workflows.render.numbers import VERDICTS, ranged, shown

# Who says what is judged -> in words; of the first kind are the paper's claims.
STANDINGS = {
    "stated": "what the paper or its poster states",
    "inferred": "what we take the paper's unread tables to say",
    "control": "controls of this project",
    "others": "what other publications say",
}
READING = (
    "A verdict speaks of this budget's data and length of training, not of the paper's. It agrees "
    "or disagrees where the 95 % interval over seeds (Student's t, rows compared within seeds) "
    "lies on one side of 0, which takes two seeds. Seeds on which a row diverged are not judged. "
    "Intervals are not widened for the number of claims: about one verdict in twenty would be "
    "decided by chance. An effect is in the metric's unit, and positive where the claim is right. "
    "A Fréchet distance of few images is biased upwards, for some rows more than for others; KID "
    "in the tables is not."
)
KINDS = {
    "better": "by how much the first row is better than the second",
    "at_least": "the distance above the bound",
    "at_most": "the distance below the bound",
    "steadier": "how much wider the other rows lie apart, from worst to best, than these",
    "rises": "the mean gain from one value of the sweep to the next",
    "does_not_rise": "the mean loss from one value of the sweep to the next",
}


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """How many verdicts there are: a row for each of STANDINGS that occurs, a column for each of
    VERDICTS.
    """
    counts = pd.crosstab(found["standing"], found["verdict"])
    present = [standing for standing in STANDINGS if standing in counts.index]
    return counts.reindex(index=present, columns=list(VERDICTS), fill_value=0)


def printed(found: pd.DataFrame, plan: Plan, table: str) -> pd.DataFrame:
    """One claim's lines as text: dataset, metric, verdict, effect, published effect, seeds."""
    lines = found.to_dict("records")
    return pd.DataFrame(
        {
            "dataset": [short(plan, name, table) for name in found["dataset"]],
            "metric": found["metric"],
            "verdict": [verdict(line) for line in lines],
            "effect": [
                ranged(line["metric"], line["effect"], line["low"], line["high"], sign=True)
                for line in lines
            ],
            "published": [shown(line["metric"], line["published"], sign=True) for line in lines],
            "seeds": [seeds(line) for line in lines],
        }
    )


def verdict(line: Mapping[Any, Any]) -> str:
    """A verdict in words; where it is undecided, also why. line: of verdicts.csv."""
    word = VERDICTS[line["verdict"]][0]
    if line["verdict"] != UNDECIDED:
        return word
    return f"{word} (one seed)" if line["seeds"] == 1 else f"{word} at this length"


def seeds(line: Mapping[Any, Any]) -> str:
    """How many seeds are behind a verdict, and how many could not be. line: of verdicts.csv."""
    return f"{line['seeds']}" + (f" ({line['diverged']} diverged)" if line["diverged"] else "")


def trained(found: pd.DataFrame, plan: Plan, claim: PlannedClaim) -> str:
    """Sentences on how the runs behind a claim's lines were trained; empty without any."""
    tested = set(found.loc[found["seeds"] > 0, "dataset"])
    here = [name for name in plan.datasets_of(claim.table) if name in tested]
    meant = {name: [*claim.of, *claim.than] for name in here}
    return f"Trained: {training(plan, claim.table, meant)}" if here else ""


def at_other_lengths(found: pd.DataFrame, plan: Plan, table: str) -> list[str]:
    """A sentence for each dataset and metric of a claim that two lengths or more were measured by.

    found: its lines of `at_lengths`.
    """
    said = []
    for (dataset, metric), lines in found.groupby(["dataset", "metric"], sort=False):
        if len(lines) < 2:
            continue
        held = "; ".join(
            f"{line['length']}: {shown(str(metric), line['effect'], sign=True)}, "
            f"{'held' if line['effect'] > 0 else 'did not hold'}"
            for line in lines.to_dict("records")
        )
        seeds = sorted({int(count) for count in lines["seeds"]})
        by = "one seed" if seeds == [1] else f"{seeds[0]} seeds or more"
        where = f"{short(plan, str(dataset), table)}, {metric}"
        said.append(f"{where}, by length of training (1 is this budget's; {by}): {held}.")
    return said


def markdown(found: pd.DataFrame, plan: Plan) -> str:
    """A document: the count, then every claim with its verdicts."""
    counted = summary(found)
    words = {verdict: word for verdict, (word, _) in VERDICTS.items()}
    parts = [
        "# Verdicts on the paper's claims",
        f"Budget {escape.markdown(plan.title)}.",
        counted.rename(index=STANDINGS, columns=words).rename_axis("on").to_markdown(),
        READING,
    ]
    for claim in plan.claims:
        about = claim.about
        lines = found[found["claim"] == claim.about.id]
        body = printed(lines, plan, claim.table)
        body["dataset"] = [
            escape.markdown(plan.dataset_title(name, claim.table)) for name in lines["dataset"]
        ]
        parts += [
            f"## {escape.markdown(about.claim.rstrip('.'))}",
            escape.markdown(f"Source: {about.source}. {about.caveat or ''}".rstrip()),
            body.rename(
                columns={"effect": "effect, positive where the claim is right"}
            ).to_markdown(index=False, disable_numparse=True),
            escape.markdown(trained(lines, plan, claim)),
        ]
    kinds = dict.fromkeys(claim.about.kind for claim in plan.claims)
    parts.append("\n".join(f"- {kind.replace('_', ' ')}: {KINDS[kind]}" for kind in kinds))
    return "\n\n".join(parts) + "\n"
