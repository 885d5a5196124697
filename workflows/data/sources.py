"""Find the files of a dataset: in a local folder, a Python package, the system or at a URL."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from workflows.config.datasets import Dataset, Download, Source
from workflows.errors import ConfigError, DataError

VARIABLE = "CODEBOOK_DATA"


class Unavailable(DataError):
    """No source has the dataset: its files are not on this machine, and every download failed."""


@dataclass(frozen=True)
class FoundFiles:
    """paths: the files of a dataset. detail: one line that says where they come from."""

    paths: tuple[Path, ...]
    detail: str


def absence(dataset: Dataset) -> str | None:
    """Return what to do if this machine cannot have the dataset; None if it has files or a URL."""
    if first_on_disk(dataset) or any(source.kind == "url" for source in dataset.sources):
        return None
    return _advice(dataset)


def obtain(dataset: Dataset, downloads: Path) -> FoundFiles:
    """Return the files of a dataset, downloading them into `downloads` if no source is on disk.

    Raises Unavailable, whose message says what failed and what to do.
    """
    if files_on_disk := first_on_disk(dataset):
        return files_on_disk
    failures = []
    for source in dataset.sources:
        if source.kind != "url":
            continue
        try:
            paths = tuple(_download(file, downloads) for file in source.files)
            return FoundFiles(paths, detail(source))
        except (OSError, ValueError) as error:
            failures.append(" ".join(str(error).split()))
    failed = f" (download failed: {'; '.join(failures)})" if failures else ""
    raise Unavailable(f"{dataset.name}: not found; {_advice(dataset)}{failed}")


def first_on_disk(dataset: Dataset) -> FoundFiles | None:
    """Return the first source whose files all exist on this disk; URLs are ignored."""
    for source in dataset.sources:
        paths = _paths_on_disk(source)
        if paths and all(path.exists() for path in paths):
            return FoundFiles(paths, detail(source))
    return None


def _paths_on_disk(source: Source) -> tuple[Path, ...]:
    """Return where the files of a source would be; () for a URL, or if the folder is unknown."""
    if source.kind == "system":
        return tuple(Path(file) for file in source.files)
    if source.kind == "package":
        paths = [in_package(*file.split("/", 1)) for file in source.files]
        return tuple(path for path in paths if path) if all(paths) else ()
    if source.kind == "local" and os.environ.get(VARIABLE):
        root = Path(os.environ[VARIABLE]).expanduser()
        if not root.is_dir():
            raise ConfigError(
                f"{VARIABLE}={root}: no such folder; name an existing one or unset it"
            )
        return tuple(root / file for file in source.files)
    return ()


def _file_names(source: Source) -> str:
    return ", ".join(file if isinstance(file, str) else file.url for file in source.files)


def detail(source: Source) -> str:
    """Describe a source in one line, which does not depend on where a user's folder is."""
    origin = "downloaded from" if source.kind == "url" else f"{source.kind}:"
    return f"{origin} {_file_names(source)}"


def in_package(name: str, file: str) -> Path | None:
    """Return the path of a package's file without importing the package; None if not installed."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent / file if spec and spec.origin else None


def _download(file: Download, folder: Path) -> Path:
    """Download a file unless it is already there, and check its MD5. Raises OSError, ValueError."""
    # Trainings import this module too, and pooch would delay their start.
    import pooch

    store = pooch.create(
        folder,
        "",
        registry={file.name: f"md5:{file.md5}"},
        urls={file.name: file.url},
        retry_if_failed=2,
    )
    fetch = pooch.HTTPDownloader(progressbar=True, timeout=30)
    return Path(store.fetch(file.name, downloader=fetch))


def _advice(dataset: Dataset) -> str:
    ways = []
    for source in dataset.sources:
        if source.kind == "local":
            ways.append(f"set {VARIABLE} to a folder that holds {_file_names(source)}")
        elif source.kind == "url":
            ways.append(f"connect to the network for {_file_names(source)}")
        else:
            ways.append(f"run `{source.install}`")
    return ", or ".join(ways) + "." + (f" {dataset.advice}" if dataset.advice else "")
