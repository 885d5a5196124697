"""Members of a folder, tar or zip, read in memory by expected name; nothing is ever unpacked."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from workflows.errors import DataError


class Entry(NamedTuple):
    """regular: whether it is a file, and not a device or a link to nothing."""

    name: str
    regular: bool
    read: Callable[[], bytes]


def listing(path: Path, pattern: str) -> tuple[list[str], list[str]]:
    """The names in `path` (folder, tar or zip) that match `pattern` whole, and all others, sorted.

    Raises what `members` raises.
    """
    names: list[str] = []
    others: list[str] = []
    with _named(path):
        for entry, wanted in _entries(path, pattern):
            (names if wanted else others).append(entry.name)
    return sorted(names), sorted(others)


def members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every member whose name matches, in the order of the archive.

    A name is as Unix writes it, without a leading "./". Hidden members never match: file managers
    leave them beside the files that are meant. In a folder, links to files are followed and links
    to folders are not. Raises DataError naming the archive if it is damaged, and naming the member
    if it is no regular file or is there twice.
    """
    with _named(path):
        for entry, wanted in _entries(path, pattern):
            if wanted:
                yield entry.name, entry.read()


def hidden(name: str) -> bool:
    """Whether a file manager made a member, or a folder above the member is hidden."""
    parts = name.split("/")
    return any(part == "__MACOSX" or (part[:1] == "." and part != "..") for part in parts)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the archive in errors. A damaged archive may raise nearly anything: of the format, the
    compression, a text, a number.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: unreadable: {said}") from None


def _entries(path: Path, pattern: str) -> Iterator[tuple[Entry, bool]]:
    """Each member, and whether it is wanted. Raises DataError for a wanted one that will not do."""
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    kind = _folder if path.is_dir() else _zip if zipfile.is_zipfile(path) else _tar
    matching, seen = re.compile(pattern), set()
    for found in kind(path):
        # PowerShell separates by backslashes, and `tar .` begins each name with ./
        name = posixpath.normpath(found.name.replace("\\", "/"))
        entry = found._replace(name=name)
        if hidden(name) or not matching.fullmatch(name):
            yield entry, False
            continue
        if not entry.regular:
            raise DataError(f"{path}: '{found.name}' is a link or a device; must be a file")
        if name in seen:
            raise DataError(f"{path}: holds two members of the same name, {name}")
        seen.add(name)
        yield entry, True


def _folder(path: Path) -> Iterator[Entry]:
    def refuse(error: OSError) -> None:
        raise error

    # Folder by folder: a million Path objects would take a gigabyte.
    for folder, subfolders, files in os.walk(path, onerror=refuse):
        subfolders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            yield Entry(file.relative_to(path).as_posix(), file.is_file(), file.read_bytes)


def _zip(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # Archivers of other systems than Unix leave the kind of file out.
            regular = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
            if not member.filename.endswith(("/", "\\")):
                read = partial(archive.read, member)
                yield Entry(member.filename, regular, read)


def _tar(path: Path) -> Iterator[Entry]:
    with path.open("rb") as handle:
        if handle.read(64).lstrip()[:1] == b"<":
            raise DataError(f"{path}: no archive but a page of HTML or XML; download it again")
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isdir():
                read = partial(_content, archive, member)
                yield Entry(member.name, member.isfile(), read)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = archive.extractfile(member)
    return handle.read() if handle else b""
