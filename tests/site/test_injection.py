"""Names and texts that hold scripts, links and formulas are shown, on every page, and never run."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Page

from tests.site import made_up
from workflows.render import escape

SAID = (
    "<script>pwned=1</script>",
    '"><img src=x onerror="pwned=1">',
    "'><svg onload=pwned=1>",
    "</title></textarea></style></script><script>pwned=1</script>",
    "![p](http://e.invalid/p)",
    "[l](//e.invalid/l)",
    "<http://e.invalid/a>",
    '<img src="http://e.invalid/i">',
    "{{ 7 * 7 }}{% raw %}",
    "--><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "&lt;b&gt; &#60;i&#62;",
    "`code` | edge | *em* __strong__ ~~gone~~ \\textbf{x} $a_$ ^ % # ~ {",
)
PAYLOAD = " ".join(SAID)
# A cell's name is a path; these are all the marks that such a path takes.
NAME = "mnist/cvq\"><b>'&lt;{{7*7}}/javascript:window.pwned=1/seed0"
OLD_NAME = "mnist/cvq_vae/default/seed0"
TABLE = "methods"


def spoilt(content: dict[str, Any]) -> dict[str, Any]:
    """A plan of one table, with the payload behind or for every text that a file can give."""

    def spoil(value: Any, key: str = "") -> Any:
        # The texts of a claim and of a figure hold at most 400 letters.
        if key == "about":
            return value | dict.fromkeys(("claim", "source"), PAYLOAD)
        if key == "figures":
            texts = dict.fromkeys(("title", "caption"), PAYLOAD)
            return {name: one | texts for name, one in value.items()}
        if isinstance(value, dict):
            return {name: spoil(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [spoil(part, key) for part in value]
        if key == "caption":
            return PAYLOAD
        if key in ("title", "row", "order", "published_rows", "of", "than"):
            return value + PAYLOAD
        return value.replace(OLD_NAME, NAME) if key in ("cell", "folder") else value

    kept = made_up.of_tables(content, TABLE)
    cells = {name.replace(OLD_NAME, NAME): about for name, about in kept["cells"].items()}
    return spoil(kept | {"cells": cells})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder, with the site in it."""
    out = tmp_path_factory.mktemp("injected")
    published = out / "published"
    published.mkdir()
    with (made_up.PUBLISHED / "methods.csv").open(newline="") as whole:
        lines = list(csv.DictReader(whole))
    with (published / "methods.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, lines[0], lineterminator="\n")
        writer.writeheader()
        for line in lines:
            texts = ("row", "source", "evidence", "note")
            writer.writerow(line | {key: line[key] + PAYLOAD for key in texts})
    return made_up.site(out, "lite", spoilt, published, PAYLOAD).parent


def quiet(page: Page, complaints: list[str]) -> None:
    """Nothing ran, nothing was asked for; also not after a while, for pictures that fail late."""
    page.wait_for_timeout(200)
    assert page.evaluate("window.pwned") is None
    assert all(frame.url == page.url for frame in page.frames)
    assert complaints == []


PAGES = (
    "index.html",
    "claims.html",
    "figures.html",
    "figures/reconstructions.html",
    "methods/vq_vae.html",
    "quality.html",
    "cells.html",
    f"tables/{TABLE}.html",
    f"cells/{NAME}.html",
    f"cells/{made_up.DIVERGED}.html",
)


@pytest.mark.parametrize("file", PAGES)
def test_a_page_of_the_site_shows_names_and_runs_none(
    results: Path, page: Page, complaints: list[str], file: str
) -> None:
    page.goto((results / "site" / file).as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    quiet(page, complaints)
    text = " ".join((page.text_content("main") or "").split())
    for piece in SAID:
        assert " ".join(piece.split()) in text, piece
    # Sorting and filtering put the cells' content together again.
    for heading in page.locator("table.sortable thead th").all()[:4]:
        heading.dispatch_event("click")  # a wide first column may lie above it
    search = page.locator("input[type=search]")
    if search.count():
        search.first.fill(SAID[0])
    for button in page.locator("[data-copy]").all():
        button.click()
    quiet(page, complaints)
    if file == "cells.html":
        search.first.fill("")
        page.get_by_role("link", name=NAME, exact=True).click()
        page.wait_for_selector("html[data-ready]", state="attached")
        assert page.text_content("h1") == NAME
        assert f"CELL={NAME}" in (page.text_content("main .command") or "")
        quiet(page, complaints)


def test_latex_has_no_instruction_from_a_name(results: Path) -> None:
    text = (results / "tables" / f"{TABLE}.tex").read_text()
    ours = {"begin", "end", "caption", "label", "toprule", "midrule", "bottomrule", "textbf"}
    ours |= {"textbackslash", "textasciitilde", "textasciicircum"}
    ours |= {"textless", "textgreater", "textbar", "textit", "textsuperscript", "sisetup", "quad"}
    ours |= {"par", "noindent", "pm"}
    assert set(re.findall(r"\\([a-zA-Z]+)", text)) <= ours
    # What a name calls bold is not.
    assert r"\textbackslash{}textbf\{x\}" in text
    # Without our comment and signs, and what is escaped.
    bare = re.sub(r"\\.", "", re.sub(r"\A%.*|\$\\pm\$", "", text))
    body = re.sub(r"^(.begin|.end|.label|\\).*$", "", bare, flags=re.MULTILINE)
    assert not re.search(r"[$#^~<>|]|_|%", re.sub(r"label\{.*?\}|tab:\S*", "", body))
    assert bare.count("{") == bare.count("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    counts = {re.sub(r"\\&", "", line).count("&") for line in rows}
    # A table a block, whose rows all have as many cells.
    assert len(counts) <= text.count(r"\begin{tabular}")


@pytest.mark.parametrize(
    ("text", "markdown", "latex"),
    [
        ("RQVAE [22] CVPR'2022", "RQVAE [22] CVPR'2022", "RQVAE [22] CVPR'2022"),
        ("sq_vae", "sq_vae", r"sq\_vae"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`", r"\_a\_ *b* `c`"),
        ("a | b\n c", r"a \| b c", r"a \textbar{} b c"),
        ("[a](b) ![c](d) [e]: f", r"[a\](b) \![c\](d) [e\]: f", "{[}a](b) ![c](d) [e]: f"),
        ("&lt; & 1 < 2", r"\&lt; & 1 \< 2", r"\&lt; \& 1 \textless{} 2"),
        ("# a", r"\# a", r"\# a"),
        ("- a", r"\- a", "- a"),
        ("12. a", r"12\. a", "12. a"),
        ("* a", r"\* a", "{*} a"),
        (
            "\\x{~^}$#",
            r"\\x{~^}$#",
            r"\textbackslash{}x\{\textasciitilde{}\textasciicircum{}\}\$\#",
        ),
    ],
)
def test_escapes(text: str, markdown: str, latex: str) -> None:
    assert escape.markdown(text) == markdown
    assert escape.latex(text) == latex
    tokens = MarkdownIt("js-default").parse(f"{markdown}\n")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {part.type for part in tokens[1].children or ()} <= {"text", "text_special"}
    assert "".join(part.content for part in tokens[1].children or ()) == " ".join(text.split())
