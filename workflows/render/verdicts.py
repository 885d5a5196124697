"""Write the verdicts on claims as text and as a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from workflows.config.plan import Plan, PlannedClaim
from workflows.records.verdicts import UNDECIDED
from workflows.render import escape
from workflows.render.captions import short, training_sentences
from workflows.render.numbers import VERDICTS, formatted, with_interval

# The standing of a claim, which says who states the claim -> in words.
STANDINGS = {
    "stated": "what the paper or its poster states",
    "inferred": "what we take the paper's unread tables to say",
    "control": "controls of this project",
    "others": "what other publications say",
}
READING = (
    "A verdict holds for this budget's data and length of training, which are not the paper's. It "
    "agrees or disagrees where the 95 % interval over seeds (Student's t, rows compared within "
    "seeds) lies on one side of 0, which takes two seeds. Seeds on which a row diverged are not "
    "judged. Intervals are not widened for the number of claims, so about one verdict in twenty "
    "would be decided by chance if no effect existed. An effect is in the metric's unit, and "
    "positive where the claim is right. A Fréchet distance of few images is biased upwards, for "
    "some rows more than for others. The tables also show KID, which has no such bias."
)
# The kind of a claim -> its effect.
KINDS = {
    "better": "by how much the first row is better than the second",
    "at_least": "the distance above the bound",
    "at_most": "the distance below the bound",
    "steadier": "the range of the other rows, from worst to best, minus the range of these rows",
    "rises": "the mean gain from one value of the sweep to the next",
    "does_not_rise": "the mean loss from one value of the sweep to the next",
}


def summary(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of verdicts, with a row for each standing that occurs.

    The columns are the keys of VERDICTS. verdicts: lines of verdicts.csv.
    """
    counts = pd.crosstab(verdicts["standing"], verdicts["verdict"])
    standings = [standing for standing in STANDINGS if standing in counts.index]
    return counts.reindex(index=standings, columns=list(VERDICTS), fill_value=0)


def printed(verdicts: pd.DataFrame, plan: Plan, table: str) -> pd.DataFrame:
    """Return one claim's verdicts as text.

    The columns are dataset, metric, verdict, effect, published (the published effect) and seeds.
    """
    lines = verdicts.to_dict("records")
    return pd.DataFrame(
        {
            "dataset": [short(plan, name, table) for name in verdicts["dataset"]],
            "metric": verdicts["metric"],
            "verdict": [verdict_words(line) for line in lines],
            "effect": [
                with_interval(line["metric"], line["effect"], line["low"], line["high"], sign=True)
                for line in lines
            ],
            "published": [
                formatted(line["metric"], line["published"], sign=True) for line in lines
            ],
            "seeds": [seeds(line) for line in lines],
        }
    )


def verdict_words(line: Mapping[Any, Any]) -> str:
    """Return the verdict in a line of verdicts.csv in words, with the reason if undecided."""
    words = VERDICTS[line["verdict"]]
    if line["verdict"] != UNDECIDED:
        return words
    return f"{words} (one seed)" if line["seeds"] == 1 else f"{words} at this length"


def seeds(line: Mapping[Any, Any]) -> str:
    """Return how many seeds a line of verdicts.csv judges, and how many diverged."""
    return f"{line['seeds']}" + (f" ({line['diverged']} diverged)" if line["diverged"] else "")


def training_of(verdicts: pd.DataFrame, plan: Plan, claim: PlannedClaim) -> str:
    """Return how the runs behind a claim's verdicts were trained; empty without runs."""
    tested = set(verdicts.loc[verdicts["seeds"] > 0, "dataset"])
    datasets = [name for name in plan.datasets_of(claim.table) if name in tested]
    rows = {name: [*claim.of, *claim.than] for name in datasets}
    return f"Trained: {training_sentences(plan, claim.table, rows)}" if datasets else ""


def at_other_lengths(verdicts: pd.DataFrame, plan: Plan, table: str) -> list[str]:
    """Return a sentence for each dataset and metric that two or more lengths were measured by.

    verdicts: what records.verdicts.at_lengths returns for a claim.
    """
    sentences = []
    for (dataset, metric), lines in verdicts.groupby(["dataset", "metric"], sort=False):
        if len(lines) < 2:
            continue
        results = "; ".join(
            f"{line['length']}: {formatted(str(metric), line['effect'], sign=True)}, "
            f"{'held' if line['effect'] > 0 else 'did not hold'}"
            for line in lines.to_dict("records")
        )
        fewest = int(lines["seeds"].min())
        count = "one seed" if (lines["seeds"] == 1).all() else f"{fewest} seeds or more"
        start = f"{short(plan, str(dataset), table)}, {metric}"
        sentences.append(
            f"{start}, by length of training (1 is this budget's; {count}): {results}."
        )
    return sentences


def markdown(verdicts: pd.DataFrame, plan: Plan) -> str:
    """Return a document with the counts, and every claim with its verdicts."""
    counts = summary(verdicts).rename(index=STANDINGS, columns=VERDICTS).rename_axis("on")
    parts = [
        "# Verdicts on the paper's claims",
        f"Budget {escape.markdown(plan.title)}.",
        counts.to_markdown(),
        READING,
    ]
    for planned in plan.claims:
        claim = planned.about
        lines = verdicts[verdicts["claim"] == claim.id]
        body = printed(lines, plan, planned.table)
        body["dataset"] = [
            escape.markdown(plan.dataset_title(name, planned.table)) for name in lines["dataset"]
        ]
        body = body.rename(columns={"effect": "effect, positive where the claim is right"})
        parts += [
            f"## {escape.markdown(claim.claim.rstrip('.'))}",
            escape.markdown(f"Source: {claim.source}. {claim.caveat or ''}".rstrip()),
            body.to_markdown(index=False, disable_numparse=True),
            escape.markdown(training_of(lines, plan, planned)),
        ]
    kinds = dict.fromkeys(planned.about.kind for planned in plan.claims)
    parts.append("\n".join(f"- {kind.replace('_', ' ')}: {KINDS[kind]}" for kind in kinds))
    return "\n\n".join(parts) + "\n"
