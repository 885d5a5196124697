"""The values of the templates `index.html` and `claims.html`: the claims and their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from workflows.config.plan import PlannedClaim
from workflows.records.verdicts import (
    CONTRADICTED,
    REPRODUCED,
    UNDECIDED,
    UNTESTED,
    at_lengths,
)
from workflows.render.captions import short
from workflows.render.numbers import ABSENT, VERDICTS, formatted
from workflows.render.site import links
from workflows.render.site.gallery import NO_ENTRY, Gallery, Values
from workflows.render.verdicts import at_other_lengths, printed, summary, training_of


def overview(gallery: Gallery) -> Values:
    """Return the values of `index.html`: the answer, the grid of claims, an example cell."""
    plan, verdicts = gallery.plan, gallery.verdicts
    claims = sorted(plan.claims, key=lambda claim: not claim.about.headline)
    datasets = list(dict.fromkeys(verdicts["dataset"]))
    runs = [record for cell, record in gallery.records.items() if cell in gallery.finished]
    states = Counter(gallery.state(cell) for cell in plan.cells if cell not in gallery.finished)
    # The example of a cell is measured if possible, and is of the first headline if possible.
    first_cells = {(line.table, line.row): line.cell for line in reversed(plan.rows)}
    claimed = [first_cells.get((claim.table, claim.of[0])) for claim in claims]
    examples = [*filter(None, claimed), *plan.cells]
    return {
        "title": "Results",
        "unfinished": [f"{count} {state}" for state, count in states.items()],
        "hours": sum(run.seconds for run in runs) / 3600,
        "answer": _answer(gallery, claims),
        "datasets": datasets,
        "grid": [
            (claim, [_square(verdicts, claim.about.id, dataset) for dataset in datasets])
            for claim in claims
        ],
        "counts": summary(verdicts),
        "commits": sorted({run.commit + " with changes" * run.dirty for run in runs}),
        "devices": sorted({run.device for run in runs}),
        "example": next((cell for cell in examples if cell in gallery.finished), examples[0]),
    }


def _answer(gallery: Gallery, claims: Sequence[PlannedClaim]) -> str:
    """Return a sentence on the metrics by which the first claim that compares rows holds."""
    verdicts = gallery.verdicts
    claim = next((claim for claim in claims if claim.about.kind == "better"), None)
    if claim is None:
        return "This budget compares no methods."
    tested = verdicts[(verdicts["claim"] == claim.about.id) & (verdicts["verdict"] != UNTESTED)]
    if tested.empty:
        return f"Whether {claim.of[0]} beats {claim.than[0]} is not measured yet."
    # One seed has no interval, so its numbers can be compared and its verdicts cannot.
    one_seed = (tested["seeds"] == 1).all()
    parts: list[str] = []
    for dataset, lines in tested.groupby("dataset", sort=False):
        counts = Counter(lines["verdict"])
        better = (lines["effect"] > 0).sum() if one_seed else counts[REPRODUCED]
        metrics = f"{better} of {len(lines)}{'' if parts else ' metrics'}"
        worse = f" (worse on {counts[CONTRADICTED]})" if counts[CONTRADICTED] else ""
        parts.append(f"{metrics} on {short(gallery.plan, str(dataset), claim.table)}{worse}")
    metrics = f"{' and '.join(parts)}, at this length."
    if one_seed:
        rows = f"{claim.of[0]} has better numbers than {claim.than[0]}"
        return f"{rows} on {metrics} This is one seed, which decides nothing."
    undecided = (tested["verdict"] == UNDECIDED).any()
    sentence = f"{claim.of[0]} beats {claim.than[0]} on {metrics}"
    return sentence + (" The seeds leave the others undecided." if undecided else "")


def _square(verdicts: pd.DataFrame, claim: str, dataset: str) -> Values | None:
    """Return the values of a square of the grid, which sums up a claim's verdicts on a dataset.

    Returns None if the claim does not speak of the dataset.
    """
    lines = verdicts[(verdicts["claim"] == claim) & (verdicts["dataset"] == dataset)]
    if lines.empty:
        return None
    counts = Counter(lines["verdict"])
    tested = len(lines) - counts[UNTESTED]
    kind, letter, count = "undecided", "U", 0
    if not tested:
        kind, letter = "not", "–"
    elif counts[REPRODUCED]:
        count = counts[REPRODUCED]
        kind, letter = ("mixed", "M") if counts[CONTRADICTED] else ("partly", "A")
        if count == tested:
            kind = "agrees"
    elif counts[CONTRADICTED]:
        kind, letter, count = "disagrees", "D", counts[CONTRADICTED]
    metrics = lines.groupby("verdict")["metric"].agg(", ".join)
    return {
        "kind": kind,
        "letter": letter,
        "count": f"{count}/{tested}" if count else "",
        "link": links.claim(claim, dataset),
        "hint": "; ".join(f"{VERDICTS[str(key)]}: {names}" for key, names in metrics.items()),
    }


def claims_page(gallery: Gallery) -> Values:
    """Return the values of `claims.html`."""
    claims = [_claim(gallery, claim) for claim in gallery.plan.claims]
    return {"title": "Claims", "counts": summary(gallery.verdicts), "claims": claims}


def _claim(gallery: Gallery, claim: PlannedClaim) -> Values:
    """Return a claim, its verdicts one by one, and the runs behind the verdicts.

    Beside each verdict stand the numbers of the claim's first row and of its second row or bound.
    """
    plan, table = gallery.plan, claim.table
    verdicts = gallery.verdicts[gallery.verdicts["claim"] == claim.about.id]
    lines = printed(verdicts, plan, table).to_dict("records")
    rows = [claim.of[0], *claim.than[:1]]
    bound = [] if claim.about.value is None else [claim.about.kind.replace("_", " ")]
    for line, verdict in zip(lines, verdicts.to_dict("records"), strict=True):
        dataset, metric = verdict["dataset"], verdict["metric"]
        block = gallery.block(table, dataset)
        line["key"], line["link"] = dataset, gallery.block_link(table, dataset)
        line["too_few"] = block is not None and block.too_few_images(metric)
        line["heading"] = block.heading(metric) if block else metric
        line["order"] = "" if line["effect"] == ABSENT else verdict["effect"]
        if line["published"] == ABSENT or line["too_few"]:
            line["published"] = ""
        line["entries"] = [gallery.entry(block, metric, row) for row in rows]
        if bound:
            line["entries"].append(NO_ENTRY | {"text": formatted(metric, claim.about.value)})
    return {
        "about": claim.about,
        "table": table,
        "columns": [*rows, *bound],
        "lines": lines,
        "training": training_of(verdicts, plan, claim),
        "lengths": at_other_lengths(at_lengths(claim, plan, gallery.measured), plan, table),
        "rows": [*claim.of, *claim.than],
    }
