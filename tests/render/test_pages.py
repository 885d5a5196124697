"""Markdown documents as pages."""

from __future__ import annotations

from html.parser import HTMLParser

from workflows.render.pages import page

DOCUMENT = """\
# Methods

## MNIST, exact protocol

Budget lite: <2 epochs> & 1 seed.

| row   |   PSNR (dB) | note   |
|:------|------------:|:-------|
| VQ & l2 |   **18.26** | <script>alert(1)</script> |
| CVQ   |       20.57 |        |

- better: by how much
- steadier: how much wider
"""


class Found(HTMLParser):
    """What a page holds: texts by element, and the names of all elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


def test_every_block_becomes_its_element() -> None:
    html = page(DOCUMENT)
    found = Found(html)
    assert html.startswith("<!doctype html>")
    assert found.texts["title"] == ["Methods"]
    assert found.texts["h1"] == ["Methods"]
    assert found.texts["h2"] == ["MNIST, exact protocol"]
    assert found.texts["p"] == ["Budget lite: <2 epochs> & 1 seed."]
    assert found.texts["th"] == ["row", "PSNR (dB)", "note"]
    assert found.texts["strong"] == ["18.26"]
    assert {"VQ & l2", "CVQ", "20.57"} <= set(found.texts["div"])
    assert found.texts["li"] == ["better: by how much", "steadier: how much wider"]


def test_numbers_stand_under_their_heading() -> None:
    html = page(DOCUMENT)
    assert '<th style="text-align:right">PSNR (dB)</th>' in html
    assert '<td style="text-align:right"><div>20.57</div></td>' in html


def test_a_script_in_a_name_is_shown_and_does_not_run() -> None:
    found = Found(page(DOCUMENT.replace("# Methods", "# Methods </title><script>x()</script>")))
    assert "script" not in found.names
    assert any("<script>alert(1)</script>" in text for text in found.texts["div"])
    assert found.texts["title"] == ["Methods </title><script>x()</script>"]


def test_a_page_needs_no_other_file() -> None:
    html = page(DOCUMENT)
    assert "src=" not in html
    assert "href=" not in html
