"""The claims and what became of them: the overview's first answers, and the page of all."""

from __future__ import annotations

from typing import Any

from workflows.config.plan import PlannedClaim
from workflows.render.numbers import ABSENT, heading, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.verdicts import (
    KINDS,
    ORDER,
    READING,
    STANDINGS,
    effect,
    seeds,
    summary,
    trained,
)

Shown = dict[str, Any]
# What a claim without a second row is held against.
BOUNDS = {"at_least": "at least", "at_most": "at most"}


def verdict_page(gallery: Gallery) -> Shown:
    """What the template `verdicts.html` shows."""
    kinds = dict.fromkeys(claim.about.kind for claim in gallery.plan.claims)
    return {
        "title": "Verdicts on the paper's claims",
        "reading": READING,
        "counts": counts(gallery),
        "claims": [claim_shown(gallery, claim) for claim in gallery.plan.claims],
        "kinds": [(kind.replace("_", " "), KINDS[kind]) for kind in kinds],
    }


def counts(gallery: Gallery) -> list[tuple[str, list[tuple[str, int]]]]:
    """Who says what is judged, in words -> verdict -> how often."""
    found = summary(gallery.verdicts)
    return [
        (STANDINGS[str(standing)], [(str(verdict), n) for verdict, n in line.items() if n])
        for standing, line in found.iterrows()
    ]


def claim_shown(gallery: Gallery, claim: PlannedClaim) -> Shown:
    """A claim, its verdicts one by one, how many there are of each, and the runs behind them."""
    found = gallery.verdicts[gallery.verdicts["claim"] == claim.about.id]
    lines = [_line(gallery, claim, line) for line in found.to_dict("records")]
    tally = {verdict: sum(line["verdict"] == verdict for line in lines) for verdict in ORDER}
    return {
        **claim.about.model_dump(include={"id", "claim", "source", "kind", "caveat"}),
        "table": claim.table,
        "lines": lines,
        "trained": trained(found, gallery.plan, claim),
        "tally": [(verdict, count) for verdict, count in tally.items() if count],
        "runs": [
            {
                "dataset": gallery.plan.title_of(dataset),
                "rows": [
                    {"row": row, "runs": links.seeds(gallery.runs(claim.table, dataset, row))}
                    for row in (*claim.of, *claim.than)
                ],
            }
            for dataset in dict.fromkeys(found["dataset"])
        ],
    }


def _line(gallery: Gallery, claim: PlannedClaim, line: dict[Any, Any]) -> Shown:
    metric, dataset = line["metric"], line["dataset"]
    block = gallery.block(claim.table, dataset)
    return {
        "dataset": gallery.plan.dataset_title(dataset, claim.table),
        "metric": heading(metric, block.images(metric)),
        "verdict": line["verdict"],
        "effect": effect(line),
        "order": line["effect"] if line["effect"] == line["effect"] else "",
        "published": shown(metric, line["published"], sign=True),
        "published_order": line["published"] if line["published"] == line["published"] else "",
        "seeds": seeds(line),
        "link": links.table(claim.table, links.block(block.dataset, block.protocol)),
    }


def headline(gallery: Gallery, claim: PlannedClaim) -> Shown:
    """A claim on two rows, or on one and a bound, with the numbers that its effect comes from."""
    answer = claim_shown(gallery, claim)
    found = gallery.verdicts[gallery.verdicts["claim"] == claim.about.id]
    for line, known in zip(answer["lines"], found.to_dict("records"), strict=True):
        line["of"] = _number(gallery, claim, claim.of[0], known)
        line["than"] = (
            _number(gallery, claim, claim.than[0], known)
            if claim.than
            else {"ours": shown(known["metric"], claim.about.value), "link": "", "published": ""}
        )
    than = claim.than[0] if claim.than else BOUNDS[claim.about.kind]
    return answer | {"of": claim.of[0], "than": than}


def _number(gallery: Gallery, claim: PlannedClaim, row: str, known: dict[Any, Any]) -> Shown:
    """A row's mean, the run behind it, and what was published."""
    metric, dataset = known["metric"], known["dataset"]
    block = gallery.block(claim.table, dataset)
    lines = block.lines[(block.lines["row"] == row) & (block.lines["metric"] == metric)]
    line: dict[Any, Any] = {"mean": float("nan"), "published": ""}
    for found in lines.to_dict("records"):
        line = found
    cells = gallery.runs(claim.table, dataset, row)
    return {
        "ours": shown(metric, line["mean"]),
        "link": links.cell(cells[0], links.value(block.protocol, metric)) if cells else "",
        "published": line["published"] or ABSENT,
    }
