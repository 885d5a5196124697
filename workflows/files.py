"""Atomic writes, digests and lock files."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits. Raises OSError."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush the file to disk and rename it.

    Raises OSError that names `path` and says what to do; an old file is then left as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise OSError(
            f"{path}: could not be written ({reason}); nothing finished is lost, run again once "
            "there is room and leave to write"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write text atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


@contextmanager
def hold_lock(file: Path) -> Iterator[None]:
    """Hold a lock file, so that no other process works on the same cell or GPU.

    The system releases the lock when this process ends, however it ends. On a file system without
    locks every process goes on. Raises BlockingIOError, which names the other process.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise BlockingIOError(
                f"{file}: held by process {handle.read()}, which works on this cell; wait for its "
                "end, or end it and run again"
            ) from None
        except OSError as error:
            print(f"{file}: cannot be locked ({error}); going on without", flush=True)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
