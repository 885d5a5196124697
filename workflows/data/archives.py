"""Members of a folder, tar or zip, read in memory by expected name; nothing is ever unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from workflows.data.registry import DataError, Dataset

LARGEST = 64 * 2**20  # bytes of one member; the largest wanted, a CIFAR-10 batch, has 31 MB
LONGEST = 255  # characters of a part of a name, as file systems have it
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
# First bytes -> what unpacks them. What is none of these is read as it is.
UNPACKERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}


@dataclass(frozen=True)
class Limits:
    """What an archive of a dataset can hold. members: of any kind. bytes: unpacked, all together.

    A few kilobytes can unpack to any number of bytes; what a dataset says of its images bounds it.
    """

    members: int
    bytes: int

    @classmethod
    def of(cls, dataset: Dataset) -> Limits:
        """Twice the images that are wanted, and a mebibyte, 10,000 members, for all else.

        An image of the wanted size has at most 4 bytes a pixel and 64 KiB of headers; one that is
        to be cropped or resized may be larger, on average as large as 2,048 x 2,048 pixels, which
        are 16 MiB in the most wasteful format.
        """
        images = dataset.images["train"] + dataset.images["test"]
        resized = any(dataset.options.get(key) for key in ("resize", "crop", "square"))
        side = max(2048, dataset.image_size) if resized else dataset.image_size
        return cls(2 * images + 10_000, 2 * images * (4 * side**2 + 2**16) + 2**20)


def listing(path: Path, pattern: str, limits: Limits) -> list[str]:
    """Sorted names in `path` (folder, tar or zip) that match `pattern` whole; DataError if none."""
    found = sorted(name for name, _ in _walk(path, re.compile(pattern), limits, contents=False))
    if not found:
        raise DataError(f"{path}: no file in it has a name like {pattern}")
    return found


def members(path: Path, pattern: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Name and content of every member that `listing` names, in the order of the archive.

    Nothing is written anywhere. Raises DataError, naming the member, for one that could be written
    outside of an unpacked folder (absolute, `..`), that is a link or a device, that is there twice,
    has an unprintable or endless name, or more than 64 MiB; and for an archive that is damaged or
    holds more than `limits`, which is noticed before so much is unpacked. In a folder a link to a
    file within it is that file; one that leads out of it, nowhere or to a folder is refused. A
    folder is none of the wanted files, whatever it is called.
    """
    return _walk(path, re.compile(pattern), limits, contents=True)


def _walk(
    path: Path, wanted: re.Pattern[str], limits: Limits, contents: bool
) -> Iterator[tuple[str, bytes]]:
    seen = set()
    try:
        if path.is_dir():
            found = _folder(path, wanted, contents)
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder")
        elif zipfile.is_zipfile(path):
            found = _zip(path, wanted, limits, contents)
        else:
            found = _tar(path, wanted, limits, contents)
        for name, raw in found:
            if name in seen:
                raise DataError(f"{path}: holds two members of the same name, {name}")
            seen.add(name)
            yield name, raw
    except DataError:
        raise
    # A damaged archive may raise nearly anything: of the format, the compression, a text, a number.
    except Exception as error:
        raise DataError(f"{path}: unreadable: {error or type(error).__name__}") from None


def _folder(path: Path, wanted: re.Pattern[str], contents: bool) -> Iterator[tuple[str, bytes]]:
    root = path.resolve()
    # Folder by folder: a million of Path objects would take a gigabyte.
    for folder, subfolders, files in os.walk(path, onerror=_reraise):
        subfolders.sort()
        for name in sorted([*subfolders, *files]):
            file = Path(folder, name)
            below = file.relative_to(path).as_posix()
            if file.is_symlink():
                _check_link(path, file, below, root, wanted)
            if not file.is_file():
                continue
            if wanted.fullmatch(below):
                _check(path, below, file.stat().st_size)
                yield below, file.read_bytes() if contents else b""
            elif wanted.fullmatch(UNPRINTABLE.sub("_", below)):
                # The dot of a pattern does not match a line break, so it would be left out in
                # silence.
                _check(path, below, 0)


def _reraise(error: OSError) -> None:
    raise error


def _check_link(path: Path, file: Path, name: str, root: Path, wanted: re.Pattern[str]) -> None:
    try:
        target = file.resolve(strict=True)
    except (OSError, RuntimeError):  # it leads nowhere, or in a circle
        target = None
    if target is not None and target.is_dir():
        raise DataError(f"{path}: '{name}' is a link to a folder, which is not followed")
    if wanted.fullmatch(name) and (target is None or not target.is_relative_to(root)):
        where = "nowhere" if target is None else "out of the folder"
        raise DataError(f"{path}: '{name}' is a link that leads {where}")


def _zip(
    path: Path, wanted: re.Pattern[str], limits: Limits, contents: bool
) -> Iterator[tuple[str, bytes]]:
    total = 0
    with zipfile.ZipFile(path) as archive:
        for count, member in enumerate(archive.infolist()):
            _check_count(path, count, limits)
            _check(path, member.filename, 0)
            # Archivers of other systems than Unix leave the kind of file out.
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(_no_file(path, member.filename))
            if wanted.fullmatch(member.filename):
                _check(path, member.filename, member.file_size)
                total += member.file_size
                if total > limits.bytes:
                    raise DataError(_too_much(path, limits))
                yield member.filename, archive.read(member) if contents else b""


def _tar(
    path: Path, wanted: re.Pattern[str], limits: Limits, contents: bool
) -> Iterator[tuple[str, bytes]]:
    with _unpacked(path) as raw:
        bounded = cast(IO[bytes], Bounded(raw, path, limits))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for count, member in enumerate(archive):
                _check_count(path, count, limits)
                _check(path, member.name, 0)
                if not (member.isfile() or member.isdir()):
                    raise DataError(_no_file(path, member.name))
                if member.isfile() and wanted.fullmatch(member.name):
                    _check(path, member.name, member.size)
                    handle = archive.extractfile(member) if contents else None
                    content = handle.read() if handle else b""
                    if handle and len(content) != member.size:
                        raise DataError(f"{path}: member '{member.name}' is cut short")
                    yield member.name, content


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as handle:
        start = handle.read(8)
    for magic, unpack in UNPACKERS.items():
        if start.startswith(magic):
            return unpack(path, "rb")
    if start.lstrip()[:1] == b"<":
        raise DataError(f"{path}: no archive but a page of HTML or XML; download it again")
    return path.open("rb")


class Bounded:
    """A file to read that ends with DataError where a limit is passed, before memory is used."""

    def __init__(self, raw: IO[bytes], path: Path, limits: Limits) -> None:
        """raw: unpacked bytes. path: what messages name."""
        self._raw, self._path, self._limits = raw, path, limits

    def read(self, count: int = -1) -> bytes:
        """So many bytes, or all; a header that asks for more than a member may have is refused."""
        if count > max(LARGEST, tarfile.RECORDSIZE):
            raise DataError(f"{self._path}: a header asks for {count} bytes")
        self._check(self._raw.tell() + max(count, 0))
        return self._raw.read(count if count >= 0 else LARGEST)

    def seek(self, place: int, whence: int = 0) -> int:
        """To a place counted from the start; what is compressed is unpacked up to there."""
        self._check(place)
        return self._raw.seek(place, whence)

    def tell(self) -> int:
        """The place, in unpacked bytes."""
        return self._raw.tell()

    def _check(self, place: int) -> None:
        if place > self._limits.bytes:
            raise DataError(_too_much(self._path, self._limits))


def _check(path: Path, name: str, size: int) -> None:
    parts = PurePosixPath(name).parts
    if UNPRINTABLE.search(name):
        raise DataError(f"{path}: member {name[:LONGEST]!r}: unprintable character in its name")
    if any(len(part) > LONGEST for part in parts):
        raise DataError(f"{path}: member '{name[:60]}…' has a name of {len(name)} characters")
    if PurePosixPath(name).is_absolute() or ".." in parts:
        raise DataError(f"{path}: member '{name}' points outside the archive")
    if size > LARGEST:
        raise DataError(f"{path}: member '{name}' has {size} bytes; at most {LARGEST} are allowed")


def _check_count(path: Path, count: int, limits: Limits) -> None:
    if count >= limits.members:
        raise DataError(
            f"{path}: more than {limits.members} members, which is what its dataset's number of "
            "images allows"
        )


def _no_file(path: Path, name: str) -> str:
    return f"{path}: member '{name}' is a link or a device; only files are allowed"


def _too_much(path: Path, limits: Limits) -> str:
    return (
        f"{path}: unpacks to more than {limits.bytes} bytes, which is what its dataset's number "
        "and size of images allow"
    )
