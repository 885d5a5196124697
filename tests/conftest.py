"""Shared fixtures: every method of the registry, at a size that takes milliseconds."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.knobs import VARIANTS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first, so that all processes end at about the same time."""

    def seconds(item: pytest.Item) -> int:
        marker = item.get_closest_marker("slow")
        return marker.kwargs.get("seconds", 10) if marker else 0

    items.sort(key=seconds, reverse=True)


@pytest.fixture(params=VARIANTS)
def knobs(request: pytest.FixtureRequest) -> Any:
    return VARIANTS[request.param]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which its files are served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    root = tmp_path / "www"
    root.mkdir()
    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield root, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
