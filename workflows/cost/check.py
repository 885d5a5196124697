"""Predicted against measured seconds of finished cells: `python -m workflows.cost.check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflows.cost.devices import seconds, settings
from workflows.cost.jobs import kind_of, training_work
from workflows.data import describe as _describe
from workflows.registry import network_of

describe = cache(_describe)
ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "cost.md"
START, END = "<!-- check -->", "<!-- /check -->"
# Whose cells the rates of a core come from; all others are predicted without having been seen.
CALIBRATED = "mnist"


@dataclass(frozen=True)
class Timed:
    """A finished cell. measured, predicted: seconds of training."""

    cell: str
    knobs: dict[str, Any]
    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured


def timed(cells: Path) -> Iterator[Timed]:
    """Autoencoders below a folder of cells that finished on a processor."""
    for file in sorted(cells.rglob("train.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        knobs = record["knobs"]
        on_processor = record["device"].startswith("cpu") and record["threads"] == 1
        if record["status"] != "finished" or "first_stage" in knobs or not on_processor:
            continue
        work = training_work(knobs, describe(knobs["dataset"]))
        yield Timed(record["cell"], knobs, record["seconds"], seconds(work, "cpu"))


def used(knobs: Mapping[str, Any]) -> bool:
    """Whether the rates come from such a cell."""
    return knobs["dataset"] == CALIBRATED and knobs["method"] in ("vq_vae", "sq_vae")


def rate(cells: list[Timed]) -> float:
    """Operations a second of training: the median of plain cells of `CALIBRATED`, whose other
    seconds (steps, pairs, looks) are taken as devices.yaml has them.
    """
    found = []
    for cell in cells:
        if cell.knobs["dataset"] == CALIBRATED and cell.knobs["method"] == "vq_vae":
            work = training_work(cell.knobs, describe(CALIBRATED))
            found.append(work.training / (cell.measured - _rest(work, training=0.0)))
    return float(np.median(found))


def stochastic(cells: list[Timed]) -> float:
    """Nanoseconds of a pair of SQ-VAE, likewise, from the cells of the published 512 codes: with
    fewer, pairs take less time than a machine wanders.
    """
    found = []
    for cell in cells:
        knobs = cell.knobs
        if (knobs["dataset"], knobs["method"]) != (CALIBRATED, "sq_vae"):
            continue
        if knobs["codebook_size"] == 512:
            work = training_work(knobs, describe(CALIBRATED))
            found.append((cell.measured - _rest(work, pairs=0.0)) / work.pairs * 1e9)
    return float(np.median(found))


def _rest(work: Any, **without: float) -> float:
    return seconds(replace(work, **without), "cpu")


def table(cells: list[Timed]) -> pd.DataFrame:
    """dataset, kind, cells, measured (median seconds), ratio: median, lowest, highest; used: yes if
    the rates come from such cells.
    """
    frame = pd.DataFrame(
        [
            {
                "dataset": cell.knobs["dataset"],
                "kind": f"{network_of(cell.knobs)}, {kind_of(cell.knobs)}",
                "measured": cell.measured,
                "ratio": cell.ratio,
                "used": "yes" if used(cell.knobs) else "no",
            }
            for cell in cells
        ]
    )
    rows = []
    for key, some in frame.groupby(["dataset", "kind", "used"]):
        dataset, kind, seen = (str(part) for part in key)
        rows.append(_row(dataset, kind, seen, some))
    unseen = frame[frame["used"] == "no"]
    rows.append(_row("all", "not used for the rates", "no", unseen))
    return pd.DataFrame(rows)


def _row(dataset: str, kind: str, used: str, some: pd.DataFrame) -> dict[str, str]:
    return {
        "dataset": dataset,
        "network, quantiser": kind,
        "cells": f"{len(some)}",
        "rates come from them": used,
        "measured, s (median)": f"{some['measured'].median():.0f}",
        "predicted / measured (median)": f"{some['ratio'].median():.2f}",
        "lowest": f"{some['ratio'].min():.2f}",
        "highest": f"{some['ratio'].max():.2f}",
    }


def document(text: str, cells: list[Timed]) -> str:
    """docs/cost.md with the lines between its marks made anew."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    about = settings()["devices"]["cpu"]
    said = (
        f"{len(cells)} cells of autoencoders. These cells give a core "
        f"{rate(cells) / 1e9:.0f}e9 operations a second (devices.yaml says "
        f"{about['rates']['fp32']['training'] / 1e9:.0f}e9) and SQ-VAE "
        f"{stochastic(cells):.0f} ns a pair ({about['pair_nanoseconds']['stochastic']:.0f})."
    )
    body = table(cells).to_markdown(index=False, disable_numparse=True)
    return f"{before}{START}\n{said}\n\n{body}\n{END}{after}"


def main() -> int:
    """Write the table of docs/cost.md; with --check only say whether it is what it would be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, default=ROOT / "results" / "lite" / "cells")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    cells = list(timed(arguments.cells))
    if not cells:
        print(f"cost: {arguments.cells}: no finished cell of a processor", file=sys.stderr)
        return 1
    old = DOCUMENT.read_text(encoding="utf-8")
    new = document(old, cells)
    if arguments.check and new != old:
        print("docs/cost.md differs; run python -m workflows.cost.check", file=sys.stderr)
        return 1
    DOCUMENT.write_text(new, encoding="utf-8")
    print(table(cells).to_markdown(index=False, tablefmt="simple", disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
