"""The browser of these tests notices what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

WRONG = """<!doctype html><title>A page</title><body>
<script>nothing.of(this)</script><script>console.error('said so')</script>
<img src="missing.png"><script src="http://example.invalid/a.js"></script></body>"""


def test_what_is_wrong_with_a_page_is_noticed(
    page: Page, complaints: list[str], tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(WRONG, encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    assert {
        "script: nothing is not defined",
        "console: said so",
        "console: Failed to load resource: net::ERR_FILE_NOT_FOUND",
        "request: http://example.invalid/a.js",
    } <= set(complaints)
