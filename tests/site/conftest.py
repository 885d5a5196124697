"""A real browser for the tests of pages: the system's own, headless, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ADVICE = (
    "no browser: install Chromium (Debian and Ubuntu: apt-get install chromium), or let "
    "CODEBOOK_CHROMIUM name the executable of a Chromium or Chrome"
)
# What a page that works without a network may ask for.
LOCAL = ("file", "data", "blob", "about")


def find_browser() -> str:
    """The path of the browser's executable.

    Without one the test is skipped, but it fails where a browser was named, or promised by
    CI_REQUIRES_BROWSER=1: there a skip would pass for a success.
    """
    named = os.environ.get("CODEBOOK_CHROMIUM")
    for name in [named] if named else NAMES:
        if found := shutil.which(name):
            return found
    if named or os.environ.get("CI_REQUIRES_BROWSER") == "1":
        pytest.fail(f"CODEBOOK_CHROMIUM={named}: {ADVICE}", pytrace=False)
    pytest.skip(ADVICE)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window, one a process of the tests."""
    executable = find_browser()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=Path(executable))
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    """What `page` had to complain of: errors of scripts, and requests that leave this machine."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """An empty page without network; a test asserts that `complaints` is empty in the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})

    def let_local_through(route: Route) -> None:
        address = route.request.url
        if urlsplit(address).scheme in LOCAL:
            route.continue_()
        else:
            complaints.append(f"request: {address}")
            route.abort()

    context.route("**/*", let_local_through)
    opened = context.new_page()
    opened.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    opened.on(
        "console",
        lambda said: complaints.append(f"console: {said.text}") if said.type == "error" else None,
    )
    yield opened
    context.close()
