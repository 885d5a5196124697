"""What a budget's tables show, written down once for the steps that collect and render."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflows.cell import Cell
from workflows.data import Dataset
from workflows.generation_grid import sampling
from workflows.grid import Grid, budgets_by_role, budgets_by_table
from workflows.metrics import OF_RECONSTRUCTIONS, OF_SAMPLES
from workflows.protocol import load_protocol
from workflows.reading import load_yaml
from workflows.registry import sampling_versions, training_versions
from workflows.verdicts import load_claims

# Every figure: {table, title, caption, data, more}.
FIGURES = load_yaml(Path(__file__).parent / "figures.yaml", "figures")
# The datasets of the paper behind the roles that experiments name.
PAPER = {
    "digits": "mnist",
    "natural": "cifar10",
    "faces": "ffhq",
    "photographs": "imagenet",
    "churches": "lsun_churches",
    "bedrooms": "lsun_bedrooms",
    "portraits": "ffhq",
    "objects": "imagenet",
}
# Roles whose datasets say themselves what they stand in for.
OWN = ("digits", "natural", "faces")


def planned(
    budget: str, grid: Grid, datasets: Mapping[str, Dataset], missing: Mapping[str, str]
) -> dict[str, Any]:
    """The content of a budget's plan.json. datasets, missing: as of `plan`.

    Raises ConfigError for anything wrong in claims.
    """
    roles, tables = budgets_by_role(), budgets_by_table()
    folder = f"results/{budget}/cells/{{cell}}"
    return plan(grid, folder, datasets, missing, roles, tables, load_claims(grid))


def due(file: Path, now: bool) -> str:
    """A file that rules have as an input to be told when to run, and its path.

    Snakemake makes again what is older than an input. A file's own time may be wrong, as copies
    and clones have it, so what is to be made is decided from records, and this file says so: it is
    newer than every output if `now`, and older than every output else. Its content is another each
    time, because Snakemake passes over an input that is newer and has the same bytes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if now:
        file.write_text(f"{time.time_ns()}\n", encoding="utf-8")
    else:
        file.touch()
        os.utime(file, (0, 0))
    return str(file)


def filmed(knobs: Mapping[str, Any]) -> bool:
    """Whether a cell's training is filmed: where its codevectors are points of the plane."""
    return knobs.get("code_dim") == 2


def plan(
    grid: Grid,
    folder: str,
    datasets: Mapping[str, Dataset],
    missing: Mapping[str, str],
    roles_elsewhere: Mapping[str, Mapping[str, str]],
    tables_elsewhere: Mapping[str, list[str]],
    claims: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of plan.json.

    folder: of a cell, with `{cell}` in it. datasets: by name, at least the grid's. missing:
    dataset -> what to do, for those that this machine has not got. roles_elsewhere: role -> the
    budgets that have a dataset for it -> that. tables_elsewhere: table -> the budgets that have
    it. claims: as `load_claims` gives them.
    """
    without = grid.budget.get("without", [])
    wanted = sorted({cell.knobs["dataset"] for cell in grid.cells.values()})
    return {
        "budget": grid.name,
        "title": grid.budget["title"],
        "cells": {
            name: {
                "cell": name,
                "budget": grid.name,
                "folder": folder.format(cell=name),
                "knobs": dict(cell.knobs),
                "defaults": {k: v for k, v in cell.defaults.items() if k in cell.knobs},
                "stage": cell.stage,
                "missing": missing.get(cell.knobs["dataset"]),
                "versions": training_versions(cell.knobs),
                "images": trained_on(cell, datasets),
                "filmed": filmed(cell.knobs),
                "evaluation": evaluation_of(grid, cell, datasets),
            }
            for name, cell in grid.cells.items()
        },
        "rows": [{"table": row.table, "row": row.row, "cell": row.cell} for row in grid.rows],
        "tables": {
            name: {
                **{key: table[key] for key in ("title", "caption", "metrics")},
                "stage": table.get("stage", 1),
                "protocols": grid.protocols_of(name),
                # Every row in order, those of published numbers alone among them.
                "order": grid.labels(name),
                "stands_for": _stands_for(grid, table),
                "published": {
                    # Other budgets may have longer sweeps, or other datasets.
                    "rows": _once(grid.labels(name, every=True), grid.labels(name)),
                    "datasets": _once(
                        [PAPER[role] for role in table["roles"]],
                        [
                            datasets[used].stand_in_for or used
                            for role in table["roles"]
                            for used in roles_elsewhere.get(role, {}).values()
                            if role in OWN and used in datasets
                        ],
                    ),
                },
            }
            for name, table in grid.tables.items()
        },
        "datasets": {
            name: {
                "title": datasets[name].title,
                "stand_in_for": datasets[name].stand_in_for,
                "images": datasets[name].images["train"] - datasets[name].validation,
            }
            for name in wanted
        },
        "figures": {
            name: {"more": [], **figure}
            for name, figure in FIGURES.items()
            if figure["table"] in grid.tables
        },
        "roles": {role: name or PAPER[role] for role, name in grid.budget["roles"].items()},
        "claims": list(claims),
        "reference_images": grid.budget["generation"]["reference_images"],
        "progress_samples": grid.budget["generation"]["progress_samples"],
        "absent": [
            {
                "table": name,
                "dataset": PAPER[role],
                "rows": grid.labels(name),
                "note": _elsewhere("it", tables_elsewhere[name])
                if name in without
                else _elsewhere("a dataset for it", [*roles_elsewhere.get(role, {})]),
            }
            for name, table in grid.tables.items()
            for role in table["roles"]
            if name in without or grid.budget["roles"][role] is None
        ],
    }


def trained_on(cell: Cell, datasets: Mapping[str, Dataset]) -> int:
    """How many images a cell trains on: not those for validation, whatever the array holds."""
    about = datasets[cell.knobs["dataset"]]
    images = about.images["train"] - about.validation
    return min(cell.knobs["train_images"] or images, images)


def evaluation_of(grid: Grid, cell: Cell, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """What a cell's evaluation is to say of itself: protocols, how many images, versions."""
    if cell.stage == 1:
        names = grid.protocols(cell.id)
        metrics, settings = OF_RECONSTRUCTIONS, grid.budget["evaluation"]
        counts = {key: settings[key] or 0 for key in ("fid_images", "lpips_images")}
    else:
        names, metrics, settings = ["samples"], OF_SAMPLES, grid.budget["generation"]
        about = datasets[cell.knobs["dataset"]]
        images = about.images["train"] - about.validation
        counts = {
            "reference_images": min(settings["reference_images"] or images, images),
            "progress_samples": settings["progress_samples"],
            "sampling": sampling(cell.knobs),
            "sampling_versions": sampling_versions(),
        }
    versions = {**metrics, **{name: load_protocol(name).version for name in names}}
    return {"protocols": names, "versions": versions, **counts}


def _once(*lists: list[str]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _stands_for(grid: Grid, table: Mapping[str, Any]) -> dict[str, str]:
    """Dataset -> the paper's that it is in place of, where its own stand_in_for does not say it.

    CIFAR10 is no stand-in, but among what is generated it is one for ImageNet.
    """
    roles = grid.budget["roles"]
    return {
        roles[role]: PAPER[role]
        for role in table["roles"]
        if roles[role] is not None and role not in OWN
    }


def _elsewhere(what: str, budgets: list[str]) -> str:
    if not budgets:
        return "not at this budget"
    if len(budgets) == 1:
        return f"not at this budget; budget {budgets[0]} has {what}"
    some = f"{', '.join(budgets[:-1])} and {budgets[-1]}"
    return f"not at this budget; budgets {some} have {what}"
