"""Run a step: `python -S workflows/start.py workflows.steps.train ARGUMENTS`.

In a process forked from the one that CODEBOOK_PRELOADED names, where libraries are imported
already (see preload.py); else, as on a cluster's nodes, in a new interpreter. Output, exit status
and effect are the same. It imports little, because it is started for every job.
"""

import marshal
import os
import socket
import sys

VARIABLE = "CODEBOOK_PRELOADED"


def ask(address: str, arguments: list[str]) -> int | None:
    """The step's exit status; None if no process listens at `address`."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:
            return None
        # pathlib and json take longer to import than all else here.
        folder = os.getcwd()  # noqa: PTH109
        message = marshal.dumps((folder, arguments, dict(os.environ)))
        connection.sendall(len(message).to_bytes(8, "big"))
        connection.sendall(message)
        socket.send_fds(connection, [b"."], [0, 1, 2])
        try:
            answer = connection.recv(1)
        except ConnectionError:
            answer = b""
    if not answer:
        print(
            f"{arguments[0]}: the process that holds the libraries ended before the step did, "
            "perhaps for want of memory; run again, a training goes on from its last whole epoch",
            file=sys.stderr,
        )
        return 1
    return answer[0]


def main() -> int:
    """Ask the preloaded process, else become the step."""
    address = os.environ.get(VARIABLE)
    status = ask(address, sys.argv[1:]) if address else None
    if status is None:
        os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
    return status


if __name__ == "__main__":
    sys.exit(main())
