"""Whether what was prepared once would be prepared the same today. Reads file times, no content.

A dataset is prepared again when its reader's version, its settings or the files that it is read
from change. Which finished cells that concerns is known afterwards, by the digests of its arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workflows.data.registry import READERS, Dataset
from workflows.data.sources import first_on_disk

# What decides a dataset's arrays: not its title, its licence or where it was found.
DECIDES = ("reader", "options", "images", "validation", "image_size", "channels", "classes")


def settings_of(dataset: Dataset) -> dict[str, Any]:
    """What a dataset's description says of its arrays, and the version of its reader."""
    chosen = {key: getattr(dataset, key) for key in DECIDES}
    return json.loads(json.dumps({**chosen, "version": READERS[dataset.reader].version}))


def listing(paths: Iterable[Path]) -> str:
    """A digest of the paths, sizes and times of files, and of all files below folders."""
    lines = []
    for path in paths:
        # Resolved, so that an environment that is reached by a link is the same environment.
        for file in sorted(_files(path.resolve())):
            # Of a link to nothing the link's own.
            about = file.stat() if file.exists() else file.lstat()
            lines.append(f"{file} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def changed(dataset: Dataset, folder: Path) -> bool:
    """Whether a dataset that was prepared in `folder` would be prepared otherwise today.

    One whose files are gone stays as it was prepared. False for one that was never prepared.
    """
    try:
        record: Mapping[str, Any] = json.loads((folder / "dataset.json").read_text("utf-8"))
    except OSError:
        return False
    except ValueError:
        return True
    if not isinstance(record, dict) or record.get("settings") != settings_of(dataset):
        return True
    found = first_on_disk(dataset)
    return found is not None and record.get("files") != listing(found.paths)
