"""Steps that run in a fork of a process which holds the libraries."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import holding_libraries, waited
from workflows.start import VARIABLE

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-S", str(ROOT / "workflows" / "start.py")]
# Reports what a step can see of its process, then does as it is told.
STEP = """
import os, sys, time
print("torch" in sys.modules, os.getcwd(), os.environ.get("COLOUR"), *sys.argv[1:], flush=True)
print("to standard error", file=sys.stderr)
match sys.argv[1]:
    case "status": sys.exit(int(sys.argv[2]))
    case "raise": raise ValueError("told to")
    case "kill": os.kill(os.getpid(), 9)
    case "sleep": open("pid", "w").write(str(os.getpid())); time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "step.py").write_text(STEP)
    return tmp_path


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def environment(address: str) -> dict[str, str]:
    return {**os.environ, VARIABLE: address, "COLOUR": "red=1"}


def run(
    address: str, folder: Path, *arguments: str, step: str = "step"
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*START, step, *arguments],
        cwd=folder,
        env=environment(address),
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("status", ["0", "3"])
def test_a_step_has_its_folder_environment_arguments_and_status(preloaded, folder, status) -> None:
    done = run(preloaded, folder, "status", status, "", "an 'argument' with\nlines")
    # Torch is there although the step imports nothing: it is a fork.
    expected = f"True {folder} red=1 status {status}  an 'argument' with\nlines\n"
    assert (done.stdout, done.stderr) == (expected, "to standard error\n")
    assert done.returncode == int(status)


def test_without_such_a_process_it_runs_alike(folder) -> None:
    done = run("/nowhere/at/all", folder, "status", "3")
    assert done.stdout == f"False {folder} red=1 status 3\n"
    assert (done.stderr, done.returncode) == ("to standard error\n", 3)


def test_a_step_that_raises_or_is_killed_fails(preloaded, folder) -> None:
    raised = run(preloaded, folder, "raise")
    assert raised.returncode == 1
    assert "ValueError: told to" in raised.stderr
    killed = run(preloaded, folder, "kill")
    assert killed.returncode == 128 + signal.SIGKILL
    assert run(preloaded, folder, "status", "0").returncode == 0


def test_a_step_ends_with_whoever_asked_for_it(preloaded, folder) -> None:
    asking = subprocess.Popen(
        [*START, "step", "sleep"], cwd=folder, env=environment(preloaded), stdout=subprocess.DEVNULL
    )
    written = folder / "pid"
    waited(lambda: written.exists() and written.read_text())
    asking.kill()
    asking.wait()
    waited(lambda: not alive(int(written.read_text())))


def test_whoever_ends_while_asking_holds_up_nobody(preloaded, folder) -> None:
    for part in (b"", b"\x00\x00", (9).to_bytes(8, "big") + b"not all"):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(preloaded)
            asking.sendall(part)
    assert run(preloaded, folder, "status", "0").returncode == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at a process in /proc")
def test_tables_do_not_wait_for_torch(tmp_path) -> None:
    place = tmp_path / "steps"
    with holding_libraries(place) as server:
        done = run(str(place), ROOT, "--help", step="workflows.steps.tables")
        libraries = Path(f"/proc/{server.pid}/maps").read_text()
    assert (done.returncode, done.stderr) == (0, "")
    assert "--published" in done.stdout
    assert "/pandas/" in libraries
    assert "/torch/" not in libraries


def test_it_ends_with_its_parent(tmp_path) -> None:
    place = tmp_path / "own" / "steps"
    place.parent.mkdir()
    code = (
        "import os, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'workflows.preload', '--address', sys.argv[1],"
        " '--parent', str(os.getpid())])\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(place)], cwd=ROOT, check=True)
    waited(lambda: not place.parent.exists())
