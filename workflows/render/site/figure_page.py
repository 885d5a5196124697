"""The page of all figures: each with its caption, its files and its data."""

from __future__ import annotations

from typing import Any

from workflows.render.site import links
from workflows.render.site.gallery import Gallery


def figure_page(gallery: Gallery) -> dict[str, Any]:
    """What the template `figures.html` shows."""
    figures = {
        name: {**figure, "data": [links.data(figure["table"], kind) for kind in figure["data"]]}
        for name, figure in gallery.plan.figures.items()
    }
    return {"title": "Figures", "figures": figures}
