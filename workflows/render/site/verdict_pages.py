"""The claims and what became of them: the first page, and the page of all."""

from __future__ import annotations

from typing import Any

from workflows.config.plan import PlannedClaim
from workflows.render.numbers import ABSENT, heading, shown
from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.verdicts import KINDS, ORDER, READING, STANDINGS, printed, summary, trained

Shown = dict[str, Any]
# What a claim without a second row is held against.
BOUNDS = {"at_least": "at least", "at_most": "at most"}


def overview(gallery: Gallery) -> Shown:
    """What the template `index.html` shows: the answers, then the ways on."""
    plan = gallery.plan
    records = [gallery.records[cell] for cell in plan.cells if cell in gallery.records]
    # A cell to name in a command: of the first headline if there is one.
    examples = [
        cells[0]
        for claim in plan.claims
        if claim.about.headline
        for dataset in plan.datasets_of(claim.table)
        if (cells := plan.rows_of(claim.table, dataset).get(claim.of[0]))
    ]
    return {
        **verdict_page(gallery),
        "title": "Results",
        "finished": len(gallery.data.finished),
        "failed": len(gallery.data.failed),
        "hours": sum(record.seconds for record in records) / 3600,
        "commits": sorted({links.code(record) for record in records}),
        "devices": sorted({record.device for record in records}),
        "example": next(iter([*examples, *plan.cells])),
    }


def verdict_page(gallery: Gallery) -> Shown:
    """What the template `verdicts.html` shows."""
    claims = gallery.plan.claims
    counts = summary(gallery.verdicts).rename(index=STANDINGS)
    return {
        "title": "Verdicts on the paper's claims",
        "reading": READING,
        "counts": {standing: _some(line) for standing, line in counts.iterrows()},
        "claims": [_claim(gallery, claim) for claim in claims],
        "kinds": {kind: KINDS[kind] for kind in dict.fromkeys(one.about.kind for one in claims)},
    }


def _some(counts: Any) -> dict[str, int]:
    """Verdict -> how often, without those that there are none of. counts: by verdict."""
    return {verdict: counts[verdict] for verdict in ORDER if counts.get(verdict)}


def _claim(gallery: Gallery, claim: PlannedClaim) -> Shown:
    """A claim, its verdicts one by one, how many there are of each, and the runs behind them.

    A verdict has the numbers of the claim's first row and of its second, or of its bound.
    """
    plan, table = gallery.plan, claim.table
    found = gallery.verdicts[gallery.verdicts["claim"] == claim.about.id]
    lines = printed(found, plan, table).to_dict("records")
    for line, known in zip(lines, found.to_dict("records"), strict=True):
        dataset, metric = known["dataset"], known["metric"]
        block = gallery.block(table, dataset)
        line["metric"] = heading(metric, block.images(metric) if block else None)
        line["order"] = "" if line["effect"] == ABSENT else known["effect"]
        line["published_order"] = "" if line["published"] == ABSENT else known["published"]
        line["link"] = gallery.place(table, dataset)
        line["of"] = _number(gallery, table, dataset, metric, claim.of[0])
        line["than"] = (
            _number(gallery, table, dataset, metric, claim.than[0])
            if claim.than
            else {"ours": shown(metric, claim.about.value), "link": "", "published": ""}
        )
    return {
        "about": claim.about,
        "table": table,
        "of": claim.of[0],
        "than": claim.than[0] if claim.than else BOUNDS.get(claim.about.kind, ""),
        "lines": lines,
        "trained": trained(found, plan, claim),
        "tally": _some(found["verdict"].value_counts()),
        "runs": {
            plan.title_of(dataset): {
                row: links.seeds(gallery.runs(table, dataset, row))
                for row in (*claim.of, *claim.than)
            }
            for dataset in dict.fromkeys(found["dataset"])
        },
    }


def _number(gallery: Gallery, table: str, dataset: str, metric: str, row: str) -> Shown:
    """A row's mean, the run behind it, and what was published."""
    found = {"ours": ABSENT, "link": "", "published": ABSENT}
    block = gallery.block(table, dataset)
    if block is None:
        return found
    lines = block.lines[(block.lines["row"] == row) & (block.lines["metric"] == metric)]
    for line in lines.to_dict("records"):
        found["ours"] = shown(metric, line["mean"])
        found["published"] = line["published"] or ABSENT
    if cells := gallery.runs(table, dataset, row):
        found["link"] = links.cell(cells[0], links.value(block.protocol, metric))
    return found
