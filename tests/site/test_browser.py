"""The browser of these tests notices what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page


def written(folder: Path, body: str) -> str:
    file = folder / "page.html"
    file.write_text(f"<!doctype html><title>A page</title><body>{body}</body>", encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<script>nothing.of(this)</script>", "script: nothing is not defined"),
        ("<script>console.error('said so')</script>", "console: said so"),
        ('<img src="missing.png">', "console: Failed to load resource: net::ERR_FILE_NOT_FOUND"),
        ('<script src="http://example.invalid/a.js"></script>', "request: http://example.invalid"),
    ],
)
def test_what_is_wrong_with_a_page_is_noticed(
    page: Page, complaints: list[str], tmp_path: Path, body: str, complaint: str
) -> None:
    page.goto(written(tmp_path, body))
    assert any(found.startswith(complaint) for found in complaints)
