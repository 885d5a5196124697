"""Decide whether a dataset is prepared, and whether preparing it again would change its arrays.

A dataset is prepared again when its reader's version, its settings or its source files change.
Source files are compared by path, size and time, not by content, so a file that was replaced by
another of the same size and time goes unnoticed. If a new preparation gives arrays with other
digests, the finished cells of the dataset become outdated.
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
    """Return the settings of a dataset that decide its arrays, and the version of its reader."""
    settings = dataset.model_dump(mode="json", include=DECIDES)
    # Only the options that the file gives, so that a new option prepares no old dataset again.
    settings["options"] = dataset.options.model_dump(mode="json", exclude_unset=True)
    return {**settings, "version": READERS[dataset.reader].version}


def listing(paths: Iterable[Path]) -> str:
    """Return a SHA-256 of the paths, sizes and times of files and of all files in folders."""
    lines = []
    for path in paths:
        # Resolved, so that a link to an environment counts as the environment itself.
        top = path.resolve()
        below = [Path(folder, name) for folder, _, names in os.walk(top) for name in names]
        for file in sorted(below) if top.is_dir() else [top]:
            # A broken link has a size and a time, too.
            status = file.stat() if file.exists() else file.lstat()
            lines.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def missing(folder: Path) -> str:
    """Return why the last preparation found no source; "" if it found one or never ran."""
    record = find(folder / "dataset.json", MissingRecord)
    return record.missing if record else ""


def is_prepared(folder: Path) -> bool:
    """Return whether `folder` holds a prepared dataset, whose record can be read."""
    arrays = [folder / name for name in ("train.npy", "test.npy")]
    record = find(folder / "dataset.json", DatasetRecord)
    return record is not None and all(file.is_file() for file in arrays)


def changed(dataset: Dataset, folder: Path) -> bool:
    """Return whether preparing a dataset today would use other settings or files than `folder`.

    False if the dataset was never prepared. Source files may be deleted after the preparation,
    because the prepared arrays are enough. Raises ConfigError if the dataset's file or
    CODEBOOK_DATA now names another place that does not have the source files.
    """
    if not (folder / "dataset.json").exists() or missing(folder):
        return False
    record = find(folder / "dataset.json", DatasetRecord)
    if record is None or record.settings != settings_of(dataset):
        return True
    if source_files := sources.first_on_disk(dataset):
        return record.files != listing(source_files.paths)
    other_files = record.source not in map(sources.detail, dataset.sources)
    other_folder = record.source.startswith("local:") and sources.VARIABLE in os.environ
    if (other_files or other_folder) and (advice := sources.absence(dataset)):
        if other_files:
            raise ConfigError(f"{dataset.name}: not at the place that its file names; {advice}")
        raise ConfigError(
            f"{dataset.name}: not at the place that {sources.VARIABLE} names; {advice} "
            f"To use {folder} as it is, unset {sources.VARIABLE}."
        )
    return other_files
