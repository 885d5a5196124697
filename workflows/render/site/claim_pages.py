"""The claims and what became of them: the first page's answer and grid, and the page of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from workflows.config.plan import PlannedClaim
from workflows.records.verdicts import at_lengths
from workflows.render.captions import short
from workflows.render.numbers import ABSENT, UNITS, VERDICTS, shown
from workflows.render.site import links
from workflows.render.site.gallery import NO_NUMBER, Gallery, Shown
from workflows.render.verdicts import at_other_lengths, printed, summary, trained

AGREES, DISAGREES, UNDECIDED, UNTESTED = VERDICTS


def overview(gallery: Gallery) -> Shown:
    """What the template `index.html` shows: the answer, the grid, then the ways on."""
    plan, found = gallery.plan, gallery.verdicts
    first = sorted(plan.claims, key=lambda claim: not claim.about.headline)
    # A cell to name in a command: measured if there is one, and of the first headline if possible.
    wanted = [(claim.table, claim.of[0]) for claim in first]
    shown = {(line.table, line.row): line.cell for line in reversed(plan.rows)}
    known = [*(shown[place] for place in wanted if place in shown), *plan.cells]
    datasets = list(dict.fromkeys(found["dataset"]))
    # What outdated runs took is no part of the numbers shown.
    records = [record for cell, record in gallery.records.items() if cell in gallery.finished]
    states = Counter(gallery.state(cell) for cell in plan.cells if cell not in gallery.finished)
    return {
        "title": "Results",
        "without": [f"{count} {state}" for state, count in states.items()],
        "hours": sum(record.seconds for record in records) / 3600,
        "answer": answer(gallery, first),
        "datasets": datasets,
        "grid": [
            (claim, [_square(found, claim.about.id, name) for name in datasets]) for claim in first
        ],
        "counts": summary(found),
        "commits": sorted({links.code(record) for record in records}),
        "devices": sorted({record.device for record in records}),
        "example": next((cell for cell in known if cell in gallery.finished), known[0]),
    }


def answer(gallery: Gallery, claims: Sequence[PlannedClaim]) -> str:
    """A sentence: by how many metrics the first claim that compares rows holds on each dataset."""
    found = gallery.verdicts
    claim = next((one for one in claims if one.about.kind == "better"), None)
    if claim is None:
        return "This budget compares no methods."
    lines = found[(found["claim"] == claim.about.id) & (found["verdict"] != UNTESTED)]
    if lines.empty:
        said = f"Whether {claim.of[0]} beats {claim.than[0]} is not measured yet."
        return f"{said} {beside}" if (beside := _numbers(gallery, claim)) else said
    parts: list[str] = []
    for dataset, of in lines.groupby("dataset", sort=False):
        count = Counter(of["verdict"])
        metrics = f"{count[AGREES]} of {len(of)}{'' if parts else ' metrics'}"
        lost = f" (worse on {count[DISAGREES]})" if count[DISAGREES] else ""
        parts.append(f"{metrics} on {short(gallery.plan, str(dataset), claim.table)}{lost}")
    said = f"{claim.of[0]} beats {claim.than[0]} on {' and '.join(parts)}, at this length."
    rest = (lines["verdict"] == UNDECIDED).any()
    return said + (" The seeds leave the others undecided." if rest else "")


def _numbers(gallery: Gallery, claim: PlannedClaim) -> str:
    """A sentence with the numbers of a claim that sets another row against the same as `claim`, by
    the first dataset and metric of both that are measured; empty if there are none.
    """
    found = gallery.verdicts
    tested = found[(found["verdict"] != UNTESTED) & found["metric"].isin(claim.about.metrics)]
    for other in gallery.plan.claims:
        alike = (other.table, other.than, other.about.kind) == (claim.table, claim.than, "better")
        lines = tested[tested["claim"] == other.about.id].to_dict("records")
        if not alike or not lines:
            continue
        first = lines[0]
        block = gallery.block(claim.table, first["dataset"])
        rows = (other.of[0], other.than[0])
        ours, theirs = (gallery.number(block, first["metric"], row)["text"] for row in rows)
        unit = f" {UNITS[first['metric']]}" if first["metric"] in UNITS else ""
        seeds = "one seed" if first["seeds"] == 1 else f"{first['seeds']} seeds"
        return (
            f"{rows[0]}: {first['metric']} {ours}{unit} against {theirs}{unit} of {rows[1]} on "
            f"{short(gallery.plan, first['dataset'], claim.table)}, {seeds}."
        )
    return ""


def _square(found: pd.DataFrame, claim: str, dataset: str) -> Shown | None:
    """A square of the grid: what a claim's verdicts on a dataset say together.

    None if the claim does not speak of the dataset.
    """
    lines = found[(found["claim"] == claim) & (found["dataset"] == dataset)]
    if lines.empty:
        return None
    count = Counter(lines["verdict"])
    tested = len(lines) - count[UNTESTED]
    kind, letter, of = "undecided", "U", 0
    if not tested:
        kind, letter = "not", "–"
    elif count[AGREES] and count[DISAGREES]:
        kind, letter, of = "mixed", "M", count[AGREES]
    elif count[AGREES]:
        kind, letter, of = "agrees" if count[AGREES] == tested else "partly", "A", count[AGREES]
    elif count[DISAGREES]:
        kind, letter, of = "disagrees", "D", count[DISAGREES]
    metrics = lines.groupby("verdict")["metric"].agg(", ".join)
    return {
        "kind": kind,
        "letter": letter,
        "count": f"{of}/{tested}" if of else "",
        "link": links.claim(claim, dataset),
        "said": "; ".join(f"{VERDICTS[str(verdict)][0]}: {of}" for verdict, of in metrics.items()),
    }


def claims_page(gallery: Gallery) -> Shown:
    """What the template `claims.html` shows."""
    claims = [_claim(gallery, claim) for claim in gallery.plan.claims]
    return {"title": "Claims", "counts": summary(gallery.verdicts), "claims": claims}


def _claim(gallery: Gallery, claim: PlannedClaim) -> Shown:
    """A claim, its verdicts one by one, and the runs behind them.

    A verdict has the numbers of the claim's first row and of its second, or of its bound.
    """
    plan, table = gallery.plan, claim.table
    found = gallery.verdicts[gallery.verdicts["claim"] == claim.about.id]
    lines = printed(found, plan, table).to_dict("records")
    rows = [claim.of[0], *claim.than[:1]]
    for line, known in zip(lines, found.to_dict("records"), strict=True):
        dataset, metric = known["dataset"], known["metric"]
        block = gallery.block(table, dataset)
        line["key"], line["link"] = dataset, gallery.place(table, dataset)
        line["few"] = block is not None and block.few(metric)
        line["heading"] = block.heading(metric) if block else metric
        line["order"] = "" if line["effect"] == ABSENT else known["effect"]
        if line["published"] == ABSENT or line["few"]:
            line["published"] = ""
        line["numbers"] = [gallery.number(block, metric, row) for row in rows]
        if claim.about.value is not None:
            line["numbers"].append(NO_NUMBER | {"text": shown(metric, claim.about.value)})
    bound = {"at_least": ["at least"], "at_most": ["at most"]}.get(claim.about.kind, [])
    return {
        "about": claim.about,
        "table": table,
        "rows": [*rows, *bound],
        "lines": lines,
        "trained": trained(found, plan, claim),
        "lengths": at_other_lengths(at_lengths(claim, plan, gallery.measured), plan, table),
        "judged": [*claim.of, *claim.than],
    }
