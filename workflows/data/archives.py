"""Members of a folder, tar or zip, read in memory by expected name; nothing is ever unpacked."""

from __future__ import annotations

import os
import posixpath
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from workflows.errors import DataError

# A member's name and a function that reads its content.
Entry = tuple[str, Callable[[], bytes]]


def names(path: Path, pattern: str) -> list[str]:
    """The names of all members that match `pattern` whole, sorted. Raises what `members` raises."""
    with _named(path):
        return sorted(name for name, _ in _entries(path, pattern))


def members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every member whose name matches, in the order of the archive.

    Links in an archive, and links to folders in a folder, are not followed. Hidden members never
    match: file managers leave them beside the files that are meant. Raises DataError, naming the
    archive, if there is none or if it is damaged.
    """
    with _named(path):
        for name, read in _entries(path, pattern):
            yield name, read()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the archive in errors. A damaged archive may raise nearly anything."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: unreadable: {said}") from None


def _entries(path: Path, pattern: str) -> Iterator[Entry]:
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    kind = _folder if path.is_dir() else _zip if zipfile.is_zipfile(path) else _tar
    wanted = re.compile(pattern)
    for found, read in kind(path):
        # `tar .` begins each name with ./
        name = posixpath.normpath(found)
        if wanted.fullmatch(name) and not _hidden(name):
            yield name, read


def _hidden(name: str) -> bool:
    """Whether a file manager made a member, or a folder above the member is hidden."""
    parts = name.split("/")
    return any(part == "__MACOSX" or (part[:1] == "." and part != "..") for part in parts)


def _folder(path: Path) -> Iterator[Entry]:
    # Folder by folder: a million Path objects would take a gigabyte.
    for folder, _, files in os.walk(path):
        for file in (Path(folder, name) for name in sorted(files)):
            if file.is_file():
                yield file.relative_to(path).as_posix(), file.read_bytes


def _zip(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, partial(archive.read, member)


def _tar(path: Path) -> Iterator[Entry]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name, partial(_content, archive, member)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = archive.extractfile(member)
    assert handle is not None, "every file has content"
    return handle.read()
