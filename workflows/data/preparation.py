"""Whether a dataset is prepared, and whether preparing it today would give something else.

A dataset is prepared again when its reader's version, its settings or its source files change.
Source files are compared by path, size and time, not by content: a file that was replaced by one of
the same size and time is not noticed. The digests of the new arrays then tell which finished cells
no longer fit.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflows.config.datasets import READERS, Dataset
from workflows.config.records import find
from workflows.data import sources
from workflows.data.records import DatasetRecord, MissingRecord
from workflows.errors import ConfigError

# The settings that decide the arrays; the title, for example, does not.
DECIDES = {"reader", "options", "images", "validation", "image_size", "channels", "classes"}


def settings_of(dataset: Dataset) -> dict[str, Any]:
    """The settings of a dataset that decide its arrays, and the version of its reader."""
    settings = dataset.model_dump(mode="json", include=DECIDES)
    # Only the options that the file gives, so that a new option prepares no old dataset again.
    settings["options"] = dataset.options.model_dump(mode="json", exclude_unset=True)
    return {**settings, "version": READERS[dataset.reader].version}


def listing(paths: Iterable[Path]) -> str:
    """A digest of the paths, sizes and times of files, and of all files below folders."""
    lines = []
    for path in paths:
        # Resolved, so that an environment that is reached by a link is the same environment.
        top = path.resolve()
        files = [Path(folder, name) for folder, _, names in os.walk(top) for name in names]
        for file in sorted(files) if top.is_dir() else [top]:
            # A broken link has a size and a time of its own.
            about = file.stat() if file.exists() else file.lstat()
            lines.append(f"{file} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def missing(folder: Path) -> str:
    """Why the last preparation in `folder` found no source; empty if it found one or never ran."""
    record = find(folder / "dataset.json", MissingRecord)
    return record.missing if record else ""


def is_prepared(folder: Path) -> bool:
    """Whether `folder` holds a prepared dataset."""
    files = [folder / name for name in ("dataset.json", "train.npy", "test.npy")]
    return all(file.is_file() for file in files) and not missing(folder)


def changed(dataset: Dataset, folder: Path) -> bool:
    """Whether preparing a dataset today would use other settings or files than `folder` did.

    False if the dataset was never prepared. Files that are gone change nothing as long as nobody
    says that they are elsewhere: the prepared arrays are all that is needed. Raises ConfigError if
    the dataset's file or CODEBOOK_DATA names another place, which does not have them.
    """
    if not (folder / "dataset.json").exists() or missing(folder):
        return False
    record = find(folder / "dataset.json", DatasetRecord)
    if record is None or record.settings != settings_of(dataset):
        return True
    found = sources.first_on_disk(dataset)
    if found:
        return record.files != listing(found.paths)
    moved = record.source not in map(sources.detail, dataset.sources)
    elsewhere = record.source.startswith("local:") and sources.VARIABLE in os.environ
    if (moved or elsewhere) and (advice := sources.absence(dataset)):
        named = "its file names" if moved else f"{sources.VARIABLE} names"
        kept = "" if moved else f" To use {folder} as it is, unset {sources.VARIABLE}."
        raise ConfigError(f"{dataset.name}: not at the place that {named}; {advice}{kept}")
    return moved
