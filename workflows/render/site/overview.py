"""The first page: the answers, then the ways on."""

from __future__ import annotations

from typing import Any

from workflows.render.site import links
from workflows.render.site.gallery import Gallery
from workflows.render.site.verdict_pages import claim_shown, counts, headline

Shown = dict[str, Any]


def overview(gallery: Gallery) -> Shown:
    """What the template `index.html` shows."""
    claims = gallery.plan.claims
    return {
        "title": "Results",
        "headlines": [headline(gallery, claim) for claim in claims if claim.about.headline],
        "claims": [claim_shown(gallery, claim) for claim in claims],
        "counts": counts(gallery),
        "extent": extent(gallery),
        "example": example(gallery),
    }


def extent(gallery: Gallery) -> Shown:
    """How many runs there are, of how many, from which commits and devices, and what they took."""
    records = [gallery.records[cell] for cell in gallery.plan.cells if cell in gallery.records]
    return {
        "finished": len(gallery.finished),
        "planned": len(gallery.plan.cells),
        "failed": len(gallery.troubles),
        "hours": sum(record.seconds for record in records) / 3600,
        "commits": sorted({links.code(record) for record in records}),
        "devices": sorted({record.device for record in records}),
    }


def example(gallery: Gallery) -> str:
    """A cell to name in a command: of the first headline if there is one."""
    for claim in gallery.plan.claims:
        if claim.about.headline:
            for dataset in gallery.plan.datasets_of(claim.table):
                cells = gallery.plan.rows_of(claim.table, dataset).get(claim.of[0])
                if cells:
                    return cells[0]
    return next(iter(gallery.plan.cells))
