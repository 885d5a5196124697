"""Planning asks no network, a dataset that cannot be downloaded is a row and not a failure, and a
run takes edits of the grid at once.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.tiny import DATASET, EXPERIMENT, SETTINGS, Tiny, make

pytestmark = pytest.mark.slow(seconds=70)
HERE, FAR, LOST = (f"{cell}/default/seed0" for cell in ("own/vq_vae", "far/vq_vae", "far/cvq_vae"))
OF_BOTH = {"roles": ["digits", "natural"], "rows": EXPERIMENT["rows"][:1]}
# Loaded by every Python that has it on its path. Only connections count: pairs of sockets are how
# asyncio talks to itself.
NO_NETWORK = """
import os, socket
def touched(*arguments, **options):
    with open(os.environ["TOUCHED"], "a", encoding="utf-8") as file:
        file.write(f"{arguments}\\n")
    raise OSError("planning must not touch the network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = touched
"""


@pytest.fixture
def port() -> int:
    """A port of this machine on which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def tiny(tmp_path: Path, port: int) -> Tiny:
    """A method on two datasets, of which one must be downloaded."""
    tiny = make(tmp_path / "copy")
    (tmp_path / "www").mkdir()
    archive = tmp_path / "www/squares.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tiny.data / "squares", "squares")
    file = {
        "url": f"http://127.0.0.1:{port}/{archive.name}",
        "md5": hashlib.md5(archive.read_bytes()).hexdigest(),
    }
    source = {"kind": "url", "files": [file]}
    tiny.write("datasets/far.yaml", {**DATASET, "name": "far", "sources": [source]})
    roles = {**SETTINGS["roles"], "natural": "far"}
    tiny.write("budgets/tiny.yaml", {**SETTINGS, "roles": roles})
    tiny.write("experiments/methods.yaml", {**EXPERIMENT, **OF_BOTH})
    lost = {"roles": ["natural"], "rows": EXPERIMENT["rows"][1:]}
    tiny.write("experiments/lost.yaml", {**EXPERIMENT, **lost})
    tiny.commit()
    return tiny


def test_planning_touches_no_network(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    touched = tmp_path / "touched"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--config", "budget=tiny", "--", "all_cells"],
        cwd=tiny.root,
        env={
            **os.environ,
            "CODEBOOK_DATA": str(tiny.data),
            "PYTHONPATH": str(tmp_path / "blocked"),
            "TOUCHED": str(touched),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert not touched.exists(), touched.read_text(encoding="utf-8")
    for cell in (HERE, FAR):
        assert f"Train {cell}" in done.stdout


def test_a_failed_download_is_a_row_and_the_next_run_tries_again(
    tiny: Tiny, tmp_path: Path, port: int
) -> None:
    """By then a knob and a role have other values, and a table with its row is gone."""
    tiny.run()
    assert [*tiny.models()] == [HERE]
    rows = pd.read_csv(tiny.root / "results/tiny/measured.csv")
    gone = rows[rows["dataset"] == "far"]
    assert set(gone["status"]) == {"dataset_missing"}
    assert set(gone["cell"]) == {FAR, LOST}
    assert gone["note"].str.contains("squares.tar.gz.*download failed", regex=True).all()
    assert set(rows[rows["dataset"] == "own"]["status"]) == {"ok"}

    # What is to be trained on the other images is known when they are there.
    planned = tiny.run("--dry-run", targets=("all_cells",))
    assert set(re.findall("Prepare the images of (.*)", planned)) == {"far"}
    assert f"Train {HERE}" not in planned
    assert f"Evaluate {HERE}" not in planned
    knobs = {**SETTINGS["knobs"], "code_dim": 5}
    roles = {**SETTINGS["roles"], "natural": None, "faces": "far"}
    tiny.write("budgets/tiny.yaml", {**SETTINGS, "roles": roles, "knobs": knobs})
    tiny.write("experiments/methods.yaml", {**EXPERIMENT, **OF_BOTH, "roles": ["digits", "faces"]})
    (tiny.root / "workflows/experiments/lost.yaml").unlink()
    tiny.commit()
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tiny.run()
        server.shutdown()
    assert [*tiny.models()] == [FAR, HERE]
    assert {tiny.record(cell)["knobs"]["code_dim"] for cell in (FAR, HERE)} == {5}
    rows = pd.read_csv(tiny.root / "results/tiny/measured.csv")
    assert set(rows["status"]) == {"ok"}
    tiny.settled()
