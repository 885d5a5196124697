"""Read the members of a folder, tar or zip by name into memory. Nothing is unpacked to disk."""

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


class Member(NamedTuple):
    """A member of an archive. regular: False for a device, a pipe or a link to no file."""

    name: str
    regular: bool
    read: Callable[[], bytes]


@contextmanager
def any_error_as_data_error(message: str) -> Iterator[None]:
    """Turn every exception into a DataError of one line that begins with `message`.

    A damaged file may raise nearly any exception: of its format, its compression or its text.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{message}: {reason}") from None


def listing(path: Path, pattern: str) -> tuple[list[str], list[str]]:
    """Return the names in a folder, tar or zip that match `pattern` in full, and all other names.

    Both lists are sorted. Raises what `members` raises.
    """
    matching: list[str] = []
    others: list[str] = []
    for member, matches in _checked_members(path, pattern):
        (matching if matches else others).append(member.name)
    return sorted(matching), sorted(others)


def members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every member whose name matches, in the archive's order.

    Names use forward slashes and have no leading "./". Hidden members never match, because file
    managers add them. In a folder, links to files are followed and links to folders are not. Raises
    DataError that names the archive if the archive is damaged, and that names the member if the
    member is not a regular file or occurs twice.
    """
    for member, matches in _checked_members(path, pattern):
        if matches:
            with any_error_as_data_error(f"{path}: unreadable"):
                content = member.read()
            yield member.name, content


def hidden(name: str) -> bool:
    """Return whether a file manager made this member, or the member or a parent is hidden."""
    parts = name.split("/")
    return any(part == "__MACOSX" or (part[:1] == "." and part != "..") for part in parts)


def _checked_members(path: Path, pattern: str) -> Iterator[tuple[Member, bool]]:
    """Yield each member and whether its name matches. Raises as `members` does."""
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    compiled, seen = re.compile(pattern), set()
    with any_error_as_data_error(f"{path}: unreadable"):
        open_archive = _folder if path.is_dir() else _zip if zipfile.is_zipfile(path) else _tar
        for stored in open_archive(path):
            # PowerShell writes backslashes, and `tar .` begins each name with "./".
            name = posixpath.normpath(stored.name.replace("\\", "/"))
            matches = not hidden(name) and compiled.fullmatch(name) is not None
            if matches and not stored.regular:
                raise DataError(f"{path}: '{stored.name}' is a link or a device; must be a file")
            if matches and name in seen:
                raise DataError(f"{path}: holds two members of the same name, {name}")
            seen.add(name)
            yield stored._replace(name=name), matches


def _folder(path: Path) -> Iterator[Member]:
    def fail(error: OSError) -> None:
        raise error

    # os.walk takes one folder at a time; a list of a million Path objects would take a gigabyte.
    for folder, _, files in os.walk(path, onerror=fail):
        for name in files:
            file = Path(folder, name)
            yield Member(file.relative_to(path).as_posix(), file.is_file(), file.read_bytes)


def _zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            # Archivers on systems other than Unix leave the file type empty.
            regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            if not info.filename.endswith(("/", "\\")):
                yield Member(info.filename, regular, partial(archive.read, info))


def _tar(path: Path) -> Iterator[Member]:
    with path.open("rb") as handle:
        if handle.read(64).lstrip()[:1] == b"<":
            raise DataError(f"{path}: no archive but a page of HTML or XML; download it again")
    with tarfile.open(path) as archive:
        for info in archive:
            if not info.isdir():
                yield Member(info.name, info.isfile(), partial(_content, archive, info))


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    handle = archive.extractfile(info)
    return handle.read() if handle else b""
