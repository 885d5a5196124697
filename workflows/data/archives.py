"""Members of a folder, tar or zip, read in memory by expected name; nothing is ever unpacked."""

from __future__ import annotations

import itertools
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from workflows.data.registry import DataError

LARGEST = 64 * 2**20  # bytes of one member; the largest wanted, a CIFAR-10 batch, has 31 MB
MOST = 1_000_000  # members of one archive


def listing(path: Path, pattern: str) -> list[str]:
    """Sorted names in `path` (folder, tar or zip) that match `pattern` whole; DataError if none."""
    found = sorted(name for name, _ in _walk(path, re.compile(pattern), contents=False))
    if not found:
        raise DataError(f"{path}: no file in it has a name like {pattern}")
    if any(one == other for one, other in itertools.pairwise(found)):
        raise DataError(f"{path}: holds two members of the same name")
    return found


def members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every member that `listing` names, in the order of the archive."""
    return _walk(path, re.compile(pattern), contents=True)


def _walk(path: Path, wanted: re.Pattern[str], contents: bool) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            yield from _folder(path, wanted, contents)
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder")
        elif zipfile.is_zipfile(path):
            yield from _zip(path, wanted, contents)
        else:
            yield from _tar(path, wanted, contents)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        lzma.LZMAError,
        zlib.error,
        OSError,
        EOFError,
        RuntimeError,  # a zip with a password or of an unknown compression
    ) as error:
        raise DataError(f"{path}: unreadable: {error}") from None


def _folder(path: Path, wanted: re.Pattern[str], contents: bool) -> Iterator[tuple[str, bytes]]:
    # Folder by folder: a million of Path objects would take a gigabyte.
    for folder, subfolders, files in os.walk(path, onerror=_reraise):
        subfolders.sort()
        for file in (Path(folder, name) for name in sorted(files)):
            name = file.relative_to(path).as_posix()
            if wanted.fullmatch(name) and file.is_file():
                _check(path, name, file.stat().st_size)
                yield name, file.read_bytes() if contents else b""


def _reraise(error: OSError) -> None:
    raise error


def _zip(path: Path, wanted: re.Pattern[str], contents: bool) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for count, member in enumerate(archive.infolist()):
            _check(path, member.filename, 0, count)
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise DataError(
                    f"{path}: member '{member.filename}' is a link; only files are allowed"
                )
            if wanted.fullmatch(member.filename):
                _check(path, member.filename, member.file_size)
                yield member.filename, archive.read(member) if contents else b""


def _tar(path: Path, wanted: re.Pattern[str], contents: bool) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for count, member in enumerate(archive):
            _check(path, member.name, 0, count)
            if not (member.isfile() or member.isdir()):
                raise DataError(
                    f"{path}: member '{member.name}' is a link or a device; only files are allowed"
                )
            if member.isfile() and wanted.fullmatch(member.name):
                _check(path, member.name, member.size)
                handle = archive.extractfile(member) if contents else None
                yield member.name, handle.read() if handle else b""


def _check(path: Path, name: str, size: int, count: int = 0) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{path}: member '{name}' points outside the archive")
    if size > LARGEST:
        raise DataError(f"{path}: member '{name}' has {size} bytes; at most {LARGEST} are allowed")
    if count >= MOST:
        raise DataError(f"{path}: more than {MOST} members")
