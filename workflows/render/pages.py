"""Our Markdown documents as HTML pages, for viewers that do not show Markdown."""

from __future__ import annotations

from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup


def page(document: str) -> str:
    """One HTML file that needs no other, titled by the document's first heading.

    document: what `markdown` of a table or of the verdicts gives. HTML in it is shown, not obeyed.
    """
    # "js-default" knows tables and lets no HTML through. A page asks for nothing, so no pictures.
    parser = MarkdownIt("js-default").disable("image")
    parser.add_render_rule("td_open", _cell_open)
    parser.add_render_rule("td_close", lambda *_: "</div></td>\n")
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("workflows.render"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    ).get_template("document.html")
    headings = (token for token in parser.parse(document) if token.type == "inline")
    title = "".join(part.content for part in next(headings).children or ())
    return template.render(title=title, body=Markup(parser.render(document)))


def _cell_open(renderer: Any, tokens: Any, place: int, options: Any, environment: Any) -> str:
    """A table's cell with an element inside that can be as small as its row."""
    return renderer.renderToken(tokens, place, options, environment) + "<div>"
