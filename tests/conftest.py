"""Shared fixtures: every method of the registry, at a size that takes milliseconds, and a process
that steps are forked from.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from workflows.registry import METHODS

SMALL = {
    "dataset": "made_up",
    "seed": 3,
    "codebook_size": 16,
    "code_dim": 8,
    "distance": "cosine",
    "anchors": "probability",
    "schedule": "online",
    "contrastive": False,
    "commitment_weight": 0.25,
    "codebook_weight": 1.0,
    "contrastive_weight": 1.0,
    "sq_initial_variance": 10.0,
    "sq_final_temperature": 0.21,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 3e-4,
    "precision": "fp32",
    "train_images": None,
    "residual_depth": 4,
    "channel_groups": 2,
}
# Methods that only the larger network has.
LARGE = {
    "network": "vqgan",
    "downsampling": 4,
    "network_channels": 32,
    "network_blocks": 1,
    "perceptual_weight": 1.0,
    "perceptual_network": "vgg",
    "adversarial_weight": 0.8,
    "adversarial_start": 2,
}


def variants() -> dict[str, dict[str, Any]]:
    """Every method, and CVQ-VAE with each anchor, schedule, distance and the contrastive term."""
    found: dict[str, dict[str, Any]] = {method: {"method": method} for method in METHODS}
    found["movq"] |= LARGE
    for anchors, schedule, distance in (
        ("random", "online", "cosine"),
        ("unique", "offline", "l2"),
        ("probability", "online", "l2"),
        ("closest", "offline", "cosine"),
    ):
        found[f"cvq_vae-{anchors}-{schedule}-{distance}"] = {
            "method": "cvq_vae",
            "anchors": anchors,
            "schedule": schedule,
            "distance": distance,
        }
    found["cvq_vae-contrastive"] = {"method": "cvq_vae", "contrastive": True}
    return {name: {**SMALL, **knobs} for name, knobs in found.items()}


VARIANTS = variants()


@pytest.fixture(params=VARIANTS)
def knobs(request: pytest.FixtureRequest) -> dict[str, Any]:
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
