"""The browser of these tests notices what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.site.conftest import find_browser


def written(folder: Path, body: str) -> str:
    file = folder / "page.html"
    file.write_text(f"<!doctype html><title>A page</title><body>{body}</body>", encoding="utf-8")
    return file.as_uri()


def test_a_page_that_works_has_no_complaints(
    page: Page, complaints: list[str], tmp_path: Path
) -> None:
    (tmp_path / "sum.js").write_text("document.body.append(1 + 1)", encoding="utf-8")
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    page.goto(written(tmp_path, f'<img src="{dot}"><script src="sum.js"></script>'))
    assert page.title() == "A page"
    assert page.inner_text("body") == "2"
    assert complaints == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("nothing.of(this)", "script: nothing is not defined"),
        ("console.error('said so')", "console: said so"),
    ],
)
def test_an_error_of_a_script_is_noticed(
    page: Page, complaints: list[str], tmp_path: Path, script: str, complaint: str
) -> None:
    page.goto(written(tmp_path, f"<script>{script}</script>"))
    assert complaints == [complaint]


def test_a_file_that_is_not_there_is_noticed(
    page: Page, complaints: list[str], tmp_path: Path
) -> None:
    page.goto(written(tmp_path, '<img src="missing.png">'))
    assert any("ERR_FILE_NOT_FOUND" in complaint for complaint in complaints)


def test_a_request_to_a_host_is_noticed_and_aborted(
    page: Page, complaints: list[str], tmp_path: Path
) -> None:
    address = "http://example.invalid/library.js"
    with page.expect_event("requestfailed") as failed:
        page.goto(written(tmp_path, f'<script src="{address}"></script>'))
    assert failed.value.url == address
    assert f"request: {address}" in complaints


def test_a_missing_browser_is_skipped_but_where_one_was_promised() -> None:
    def nothing(name: str) -> None:
        return None

    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        find_browser({}, nothing)
    with pytest.raises(pytest.fail.Exception, match=r"^CI_REQUIRES_BROWSER=1, but no browser"):
        find_browser({"CI_REQUIRES_BROWSER": "1"}, nothing)
    with pytest.raises(pytest.fail.Exception, match=r"CODEBOOK_CHROMIUM=/nowhere/chrome"):
        find_browser({"CODEBOOK_CHROMIUM": "/nowhere/chrome"}, nothing)
    assert find_browser({"CODEBOOK_CHROMIUM": "mine"}, lambda name: f"/bin/{name}") == "/bin/mine"
    assert find_browser({}, {"google-chrome": "/bin/chrome"}.get) == "/bin/chrome"
