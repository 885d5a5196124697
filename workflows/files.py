"""Writing files so that a reader never sees half of one."""

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
    """The SHA-256 of a file's bytes, 64 hexadecimal digits. Raises OSError."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class NotWritten(OSError):
    """A file that could not be written; the message names it and says what to do."""


def write_atomically(
    path: Path, write: Callable[[Path], None], before: Callable[[], None] = lambda: None
) -> None:
    """Call `write` with a temporary path beside `path`, flush it to disk and rename it.

    before: called when the new file is whole on disk and the old one still has its name. Raises
    NotWritten where `write` or the disk raises OSError; the old file is then as it was.
    """
    try:
        _write_atomically(path, write, before)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        if error.filename and not Path(error.filename).name.startswith(f".{path.name}."):
            # What it was to be copied from, for one.
            reason += f": {error.filename}"
        raise NotWritten(
            f"{path}: could not be written ({reason}); nothing finished is lost, run again once "
            "there is room and leave to write"
        ) from error


def _write_atomically(
    path: Path, write: Callable[[Path], None], before: Callable[[], None]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        before()
        temporary.replace(path)
        _flush_names(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


class Held(OSError):
    """Another process works on it; the message names the file and, if it can, the process."""


@contextmanager
def claim(file: Path) -> Iterator[None]:
    """Claim a file, so that no other process does what is done meanwhile. Raises Held at once.

    The system lets go of it when the process ends, however it ends. File systems that know no
    locks let everyone have it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            process = handle.read().strip() or "another"
            raise Held(
                f"{file}: held by process {process}, which works on this cell; wait for its end, "
                "or end it and run again"
            ) from None
        except OSError as error:
            print(f"{file}: cannot be locked ({error}); going on without", flush=True)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _flush_names(folder: Path) -> None:
    """Without it a power cut can undo a rename. Not every file system lets a folder be flushed."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_bytes(path, text.encode("utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write `text`, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)
