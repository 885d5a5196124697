"""Where a dataset is: a local folder, a package, or its canonical URL, tried in order."""

from __future__ import annotations

import importlib.util
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from workflows.data.registry import DataError, Dataset, describe

VARIABLE = "CODEBOOK_DATA"


@dataclass(frozen=True)
class Found:
    """A dataset that can be prepared. kind: prepared, local, package, system or url.

    paths: its files (empty for url). detail: one line saying which they are.
    """

    kind: str
    paths: tuple[Path, ...]
    detail: str


@dataclass(frozen=True)
class Missing:
    """A dataset that no source has. advice: what to do about it, in one or two sentences."""

    name: str
    advice: str


def locate(name: str, cache: Path = Path(".cache/datasets")) -> Found | Missing:
    """Look for `name`, decoding nothing: prepared below `cache`, else in its sources in order.

    A URL counts as found if the server answers within 3 s with the expected size.
    """
    dataset = describe(name)
    folder = cache / name
    parts = [folder / part for part in ("dataset.json", "train.npy", "test.npy")]
    if all(part.is_file() for part in parts):
        return Found("prepared", tuple(parts), f"prepared in {folder}")
    return locate_source(dataset)


def locate_source(dataset: Dataset) -> Found | Missing:
    """The first source of `dataset` that is present, else what to do."""
    found = first_on_disk(dataset)
    if found:
        return found
    for source in dataset.sources:
        if source["kind"] == "url" and all(_answers(file) for file in source["files"]):
            return Found("url", (), "download " + ", ".join(f["url"] for f in source["files"]))
    return Missing(dataset.name, _advice(dataset))


def obtain(dataset: Dataset, downloads: Path) -> Found:
    """Files of `dataset` on this disk, downloaded into `downloads` if need be; else DataError."""
    found = first_on_disk(dataset)
    if found:
        return found
    failures = []
    for source in dataset.sources:
        if source["kind"] == "url":
            try:
                paths = tuple(_download(file, downloads) for file in source["files"])
            except (OSError, ValueError) as error:
                failures.append(" ".join(str(error).split()))
            else:
                urls = ", ".join(file["url"] for file in source["files"])
                return Found("url", paths, f"downloaded from {urls}")
    tried = f" (download failed: {'; '.join(failures)})" if failures else ""
    raise DataError(f"{dataset.name}: not found; {_advice(dataset)}{tried}")


def first_on_disk(dataset: Dataset) -> Found | None:
    """The first source whose files all exist here, looking at no URL."""
    for source in dataset.sources:
        paths = _paths(source)
        if paths and all(path.exists() for path in paths):
            # The record must not depend on where a user's folder happens to be.
            return Found(source["kind"], paths, f"{source['kind']}: {', '.join(source['files'])}")
    return None


def _paths(source: dict[str, Any]) -> tuple[Path, ...] | None:
    if source["kind"] == "system":
        return tuple(Path(file) for file in source["files"])
    if source["kind"] == "package":
        roots = [(_package(file.partition("/")[0]), file) for file in source["files"]]
        paths = [root / file.partition("/")[2] for root, file in roots if root]
        return tuple(paths) if len(paths) == len(roots) else None
    if source["kind"] == "local" and os.environ.get(VARIABLE):
        root = Path(os.environ[VARIABLE]).expanduser()
        if not root.is_dir():
            raise DataError(f"{VARIABLE}={root}: no such folder; name an existing one or unset it")
        return tuple(root / file for file in source["files"])
    return None


def _package(name: str) -> Path | None:
    # find_spec does not import a top-level package, so this stays cheap.
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _answers(file: dict[str, Any]) -> bool:
    for headers, method in (({}, "HEAD"), ({"Range": "bytes=0-0"}, "GET")):
        request = urllib.request.Request(file["url"], headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=3) as reply:
                total = reply.headers.get("Content-Range", "").rpartition("/")[2]
                return int(total or reply.headers.get("Content-Length") or -1) == file["bytes"]
        except urllib.error.HTTPError:
            continue  # some servers refuse HEAD
        except (OSError, ValueError):
            return False
    return False


def _download(file: dict[str, Any], folder: Path) -> Path:
    url = file["url"]
    path = folder / url.rpartition("/")[2]
    if not path.exists() and not _answers(file):
        raise OSError(f"{url}: unreachable, or not the expected {file['bytes']} bytes")
    known = {path.name: f"md5:{file['md5']}"}
    store = pooch.create(folder, "", registry=known, urls={path.name: url}, retry_if_failed=2)
    fetch = pooch.HTTPDownloader(progressbar=True, timeout=30)
    return Path(store.fetch(path.name, downloader=fetch))


def _advice(dataset: Dataset) -> str:
    ways = []
    for source in dataset.sources:
        files = source["files"]
        if source["kind"] == "local":
            ways.append(f"set {VARIABLE} to a folder that holds {', '.join(files)}")
        elif source["kind"] == "url":
            ways.append(f"connect to the network for {', '.join(f['url'] for f in files)}")
        else:
            ways.append(f"run `{source['install']}`")
    return ", or ".join(ways) + "." + (f" {dataset.advice}" if dataset.advice else "")
