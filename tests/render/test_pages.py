"""Markdown documents as pages."""

from __future__ import annotations

from workflows.render.pages import LONG, page

DOCUMENT = """\
# Methods

## MNIST, exact protocol

Budget lite: <2 epochs> & 1 seed.

| row   |   PSNR (dB) | note   |
|:------|------------:|:-------|
| VQ & l2 |   **18.26** |        |
| CVQ   |       20.57 | NOTE |

- better: by how much
- steadier: how much wider
"""


def test_every_block_becomes_its_element() -> None:
    html = page(DOCUMENT)
    assert html.startswith("<!doctype html>")
    assert "<title>Methods</title>" in html
    assert "<h1>Methods</h1>" in html
    assert "<h2>MNIST, exact protocol</h2>" in html
    assert "<p>Budget lite: &lt;2 epochs&gt; &amp; 1 seed.</p>" in html
    assert '<tr><th>row</th><th class="right">PSNR (dB)</th><th>note</th></tr>' in html
    assert '<tr><td>VQ &amp; l2</td><td class="right"><b>18.26</b></td><td></td></tr>' in html
    assert "<ul>\n<li>better: by how much</li>\n<li>steadier: how much wider</li>\n</ul>" in html
    assert "|" not in html
    assert "**" not in html


def test_a_page_needs_no_other_file() -> None:
    html = page(DOCUMENT)
    assert "src=" not in html
    assert "href=" not in html


def test_a_long_note_is_folded_and_whole() -> None:
    note = "seeds 1, 2: not measured; " * 10 + "the end"
    html = page(DOCUMENT.replace("NOTE", note))
    assert '<td class="long"><details><summary>seeds 1, 2' in html
    summary = html.split("<summary>")[1].split("</summary>")[0]
    assert summary.endswith(" …")
    assert len(summary) <= LONG
    assert f"</summary>{note}</details></td>" in html
