"""A process that has imported the libraries and forks one child for each step.

Importing torch and the image libraries takes some three seconds, twice a cell: at the small
budgets a quarter of the work; tables and figures take a second or two to import theirs, and less to
draw. The Snakefile starts this process with a run; start.py sends it steps. A child is a fork,
hence as separate from its siblings as a process of its own. Nothing here starts a thread or touches
a GPU before it forks. Libraries are imported for the first step that needs them, so that a run
without training does not pay for torch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflows.start import VARIABLE

# What is imported for the steps of a cell, and for a step of the second list that list.
CELLS = [
    "workflows.steps.train",
    "workflows.steps.evaluate",
    "workflows.steps.reference",
    "workflows.steps.train_diffusion",
    "diffusers.models.unets.unet_2d",
]
PAGES = [
    "workflows.steps.collect",
    "workflows.steps.tables",
    "workflows.steps.figures",
    "workflows.steps.animation",
    "workflows.steps.verdicts",
    "workflows.steps.site",
]
# Seconds to wait for the rest of a request: start.py sends it at once, or has ended.
PATIENCE = 10.0
GONE = "whoever asked for a step ended while asking"


@dataclass(frozen=True)
class Request:
    """A step's folder, the arguments after `python -m`, its environment and standard streams."""

    folder: str
    arguments: list[str]
    environment: dict[str, str]
    descriptors: list[int]

    @classmethod
    def receive(cls, connection: socket.socket) -> Request:
        """Raises OSError if it does not come."""
        size = int.from_bytes(_exactly(connection, 8), "big")
        folder, arguments, environment = marshal.loads(_exactly(connection, size))
        descriptors = socket.recv_fds(connection, 1, 3)[1]
        if not descriptors:
            raise ConnectionError(GONE)
        return cls(folder, arguments, environment, descriptors)

    def libraries(self) -> list[str]:
        """What to import before the fork."""
        return PAGES if self.arguments[0] in PAGES else CELLS

    def close(self) -> None:
        """Its streams, in this process."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def start(environment: Mapping[str, str]) -> None:
    """Start it for the steps of this process, which find its address in their environment.

    environment: variables it has beside those of this process.
    """
    address = f"{tempfile.mkdtemp(prefix='codebook-')}/steps"
    subprocess.Popen(
        [sys.executable, "-m", __name__, "--address", address, "--parent", str(os.getpid())],
        # One thread of numpy's: threads do not survive a fork.
        env={**os.environ, **environment, "OPENBLAS_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[1],
        # A session of its own, so that an interrupt reaches the steps and not what they came from.
        start_new_session=True,
    )
    os.environ[VARIABLE] = address


def serve(address: str, parent: int) -> None:
    """Answer at `address` until the process `parent` is gone; its folder is removed at the end."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        # Supervisors are forgotten as they end; each waits for its own step.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while os.getppid() == parent:
            if not select.select([listener], [], [], 1.0)[0]:
                continue
            connection = listener.accept()[0]
            connection.settimeout(PATIENCE)
            try:
                request = Request.receive(connection)
            except OSError:
                connection.close()
                continue
            connection.settimeout(None)
            for library in request.libraries():
                importlib.import_module(library)
            if os.fork() == 0:
                listener.close()
                try:
                    _supervise(connection, request)
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            connection.close()
            request.close()


def _supervise(connection: socket.socket, request: Request) -> None:
    """Run one step in a child and tell its status; end it if whoever asked has gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ended, alive = os.pipe()
    child = os.fork()
    if child == 0:
        connection.close()
        os._exit(_step(request))
    os.close(alive)
    request.close()
    sources: list[Any] = [connection, ended]
    ready = select.select(sources, [], [])[0]
    if ended not in ready:
        os.kill(child, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        # A signal's status as a shell gives it.
        connection.sendall(bytes([status if status >= 0 else 128 - status]))


def _step(request: Request) -> int:
    """Become the step: its folder, environment, streams and arguments; its exit status."""
    for target, descriptor in enumerate(request.descriptors):
        os.dup2(descriptor, target)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv, sys.path[0] = list(request.arguments), request.folder
    module = request.arguments[0]
    # What was imported under its own name would else be warned about.
    sys.modules.pop(module, None)
    status: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status if isinstance(status, int) else int(status is not None)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionError(GONE)
        found += part
    return found


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="of a Unix socket in a folder of its own")
    parser.add_argument("--parent", type=int, required=True, help="process to live as long as")
    arguments = parser.parse_args()
    try:
        serve(arguments.address, arguments.parent)
    finally:
        shutil.rmtree(Path(arguments.address).parent, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
