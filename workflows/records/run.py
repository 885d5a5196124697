"""Decide what a run of Snakemake has to make, from records, before any job starts.

The rules ask an object of this module. The module does not know Snakemake, so that tests can ask
the same object.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid, read_budgets
from workflows.config.plan import PlannedCell, find_plan
from workflows.config.planning import make_plan
from workflows.config.provenance import ROOT, made_by
from workflows.config.reading import parse
from workflows.config.settings import RunConfig
from workflows.data.preparation import changed, is_prepared, missing
from workflows.data.sources import absence
from workflows.errors import ConfigError
from workflows.metrics import OF_RECONSTRUCTIONS, OF_SAMPLES, needs_features
from workflows.records import PUBLISHED
from workflows.records.state import FILM, State, ToMake, prepared_digests, states, to_make

CACHE = Path(".cache")
DATA, DUE = CACHE / "datasets", CACHE / "due"
RECORDS = ["metrics.csv", "train.json", "evaluation.json"]
# Files that a rule makes of a finished first stage.
LATENTS = {"latents.safetensors", "codes.safetensors"}
ANY_CELL = r"[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/seed[0-9]+"


class Run:
    """What one run makes, decided as the run begins.

    published: the files of published numbers. unavailable: dataset -> what to do, for the datasets
    that this machine cannot have. states: cell -> the state of its records. needed: what is to be
    made, as far as is known. to_prepare: the datasets that this run prepares. undecided: the
    datasets whose finished cells may turn out to be outdated when the images are prepared.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """settings: Snakemake's `--config`. Raises ConfigError."""
        budget = str(settings.get("budget", "embedded"))
        self.config = parse({**settings, "budget": budget}, RunConfig, "config")
        # Editors and file managers hide their files behind a dot.
        self.published = sorted(str(file) for file in PUBLISHED.glob("[!.]*.csv"))
        if not self.published:
            raise ConfigError(
                f"{PUBLISHED.absolute()}: no published numbers; run Snakemake in its clone: "
                f"cd {shlex.quote(str(ROOT))}"
            )
        self.datasets = read_datasets()
        self.grid = load_grid(budget, self.datasets)
        self.results = f"results/{budget}"
        used = {cell.dataset for cell in self.grid.cells.values()}
        prepared = {name for name in used if is_prepared(DATA / name)}
        self.unavailable = {
            name: advice
            for name in sorted(used - prepared)
            if (advice := absence(self.datasets[name]))
        }
        self.plan = make_plan(self.grid, self.datasets, self.unavailable)
        if isinstance(self.config.retrain, str):
            dataset = self.cell(self.config.retrain).dataset
            if dataset in self.unavailable:
                raise ConfigError(f"config: retrain: {dataset}: {self.unavailable[dataset]}")
        self.states = states(self.plan, prepared_digests(CACHE))
        self.needed = self._to_make(self.states)
        # This run may change the images that finished cells are compared with.
        outdated = {name for name in used if changed(self.datasets[name], DATA / name)}
        to_prepare = outdated | (self._datasets_needed() - prepared)
        self.to_prepare = to_prepare - self.unavailable.keys()
        trained = {
            cell.dataset for name, cell in self.grid.cells.items() if name not in self.needed.train
        }
        self.undecided = trained & self.to_prepare

    def _to_make(self, cell_states: Mapping[str, State]) -> ToMake:
        return to_make(self.plan, cell_states, lambda name: self.config.retrain in (True, name))

    def needed_now(self) -> ToMake:
        """Return what is to be made by the present records and prepared files."""
        return self._to_make(states(self.plan, prepared_digests(CACHE)))

    def cell(self, name: str) -> PlannedCell:
        """Return the cell of an id.

        For an unknown id raises ConfigError that names the budgets with this cell, or similar ids.
        """
        if name not in self.grid.cells:
            budgets = [b for b in read_budgets() if name in load_grid(b, self.datasets).cells]
            if budgets:
                raise ConfigError(
                    f"budget {self.grid.name} has no cell '{name}', which is of "
                    f"{', '.join(budgets)}; use --config budget={budgets[0]}"
                )
        return self.plan.cell(name)

    def unavailable_now(self) -> dict[str, str]:
        """Return `unavailable` with the datasets whose download has failed in this run."""
        reasons = {name: missing(DATA / name) for name in self.to_prepare}
        return self.unavailable | {name: reason for name, reason in reasons.items() if reason}

    def trained_by(self, rule: str) -> str:
        """Return a pattern of the ids of the cells that a rule can train."""
        cells = self._makeable(self.needed.train)
        return pattern(name for name, cell in cells if training_rule(cell) == rule)

    def measured_in(self, stage: int) -> str:
        """Return a pattern of the ids of the cells of a stage that rules can sample and measure."""
        cells = self._makeable(self.needed.evaluate)
        return pattern(name for name, cell in cells if cell.stage == stage)

    def _makeable(self, needed: Set[str]) -> Iterator[tuple[str, PlannedCell]]:
        """Yield the needed cells, and the cells that may turn out to be needed.

        No rule makes the files of a finished cell, so that Snakemake never makes them again because
        of their dates.
        """
        for name, cell in self.plan.cells.items():
            if (name in needed or cell.dataset in self.undecided) and not cell.missing:
                yield name, cell

    def refuse(self, targets: Iterable[str]) -> None:
        """Raise ConfigError, with what to do, for a file that no rule of this run makes.

        Such a file is of another budget, of an unknown or a finished cell, or of a cell whose
        dataset this machine cannot have. targets: the files and rules that the user asks for.
        """
        other_budgets = read_budgets().keys() - {self.grid.name}
        if "" in (targets := list(targets)):
            raise ConfigError("a target is empty; allowed: a rule or a file")
        for file in map(os.path.relpath, targets):
            match file.split("/"):
                case ["results" | "figures", budget, _, *_] if budget in other_budgets:
                    raise ConfigError(
                        f"{file} is of budget {budget}, and this run is of budget "
                        f"{self.grid.name}; use snakemake --cores 8 --config budget={budget} "
                        f"-- {shlex.quote(file)}"
                    )
                case ["results", self.grid.name, "cells", *parts, name] if len(parts) == 4:
                    self._refuse_file_of("/".join(parts), name)

    def _refuse_file_of(self, cell_id: str, file: str) -> None:
        """Raise ConfigError for a file in the folder of a cell that no rule makes."""
        cell = self.cell(cell_id)
        dataset = cell.dataset
        # Other images may outdate a finished cell. Images that were never prepared are no reason.
        may_be_outdated = changed(self.datasets[dataset], DATA / dataset)
        if not cell.missing and (cell_id in self.needed.evaluate or may_be_outdated):
            return
        if not self.states[cell_id].finished:
            raise ConfigError(f"{cell_id}: dataset '{dataset}': {self.unavailable[dataset]}")
        if file not in LATENTS:
            raise ConfigError(
                f"{cell_id} is finished, so this run makes none of its files; to train the cell "
                f"again: make cell BUDGET={self.grid.name} CELL={cell_id}"
            )

    def dataset_records(self, cells: Iterable[str]) -> list[str]:
        """Return dataset.json of each dataset of these cells that this run prepares.

        A rule that has such an input asks for its other inputs again when the dataset is prepared.
        Cells whose dataset turned out to be unavailable are then left out.
        """
        datasets = {self.plan.cells[name].dataset for name in cells}
        return [str(DATA / name / "dataset.json") for name in sorted(self.to_prepare & datasets)]

    def records_of(self, table: str | None = None) -> list[str]:
        """Return the records and films of the cells of a table, or of all cells.

        Left out are the cells that are not finished and whose dataset is unavailable.
        """
        shown = {row.cell for row in self.grid.rows if row.table == table}
        if table is None:
            # Also the first stages that no table shows, because the site shows all cells.
            shown = {*self.plan.cells}
        files, unavailable = self.dataset_records(shown), self.unavailable_now()
        for name, cell in self.plan.cells.items():
            if name in shown and (self.states[name].finished or cell.dataset not in unavailable):
                names = [*RECORDS, FILM] if cell.filmed else RECORDS
                files += [f"{cell.folder}/{file}" for file in names]
        return files

    def figures_of(self, table: str) -> list[str]:
        """Return the files of the figures that show a table's runs."""
        files = []
        for name, figure in self.plan.figures.items():
            if figure.table == table:
                files += [f"{name}.svg", f"{name}.png", f"{name}.csv", *figure.more]
        return [f"figures/{self.grid.name}/{file}" for file in files]

    def datasets_to_check(self) -> list[str]:
        """Return the available datasets of the cells that this run makes, sorted."""
        return sorted(self._datasets_needed() - self.unavailable_now().keys())

    def _datasets_needed(self) -> set[str]:
        return {self.plan.cells[name].dataset for name in self.needed.evaluate}

    def plan_is_due(self) -> bool:
        """Return whether plan.json is not today's plan, or measured.csv lacks a finished cell.

        A cell may be finished because its records were copied here, with an old date.
        """
        if find_plan(Path(self.results, "plan.json")) != self.plan:
            return True
        try:
            with Path(self.results, "measured.csv").open(encoding="utf-8", newline="") as lines:
                collected = {line["cell"] for line in csv.DictReader(lines)}
        except (OSError, ValueError, KeyError):
            return False
        shown = {row.cell for row in self.grid.rows}
        return any(self.states[cell].finished for cell in shown - collected)

    def references_of(self, name: str) -> list[str]:
        """Return the files of the features that a cell is compared with, one for each protocol.

        The name of a file has the versions of the protocol and of the distance, and how many images
        are compared, 0 for all.
        """
        cell, budget = self.plan.cells[name], self.grid.budget
        versions = cell.evaluation.versions
        if not needs_features(cell.evaluation.metrics):
            return []
        split, distance, images = "test", OF_RECONSTRUCTIONS["rFID"], budget.evaluation.fid_images
        if cell.stage == 2:
            split, distance = "train", OF_SAMPLES["FID"]
            images = budget.generation.reference_images
        return [
            f"{CACHE}/reference/{cell.dataset}/"
            f"{split}-{protocol}-v{versions[protocol]}.{distance}-{images or 0}.safetensors"
            for protocol in cell.evaluation.protocols
        ]

    def first_line(self) -> str:
        """Return a line that says how many cells come from records, and how many are to make."""
        kept = [
            state
            for name, state in self.states.items()
            if state.finished and name not in self.needed.evaluate
        ]
        cells = "1 cell" if len(kept) == 1 else f"{len(kept)} cells"
        line = f"Budget {self.grid.name}: {cells} from records"
        if kept:
            line += f" ({made_by(state.train.commit for state in kept if state.train)})"
        line += f", {len(self.needed.evaluate)} to make"
        return f"{line}; --config retrain=true makes all" if kept else line


def training_rule(cell: PlannedCell) -> str:
    """Return the name of the rule that trains a cell."""
    if cell.stage == 2:
        return "train_generator"
    if cell.first_stage is not None:
        return "train_quantiser"
    return "train_filmed" if cell.filmed else "train"


def pattern(names: Iterable[str]) -> str:
    """Return a regular expression that matches these names, and nothing if there are none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def due(name: str, now: bool) -> str:
    """Write the file `name` below .cache/due, and return its path.

    A rule has the file as an input that tells Snakemake whether the rule must run. Snakemake runs a
    rule again if an input is newer than an output, but copies and clones have misleading dates. So
    records decide, and this file is newer than every output if `now`, and older than every output
    otherwise. Its content is always new, because Snakemake ignores the date of an input whose
    content is the same as before.
    """
    file = DUE / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if now:
        file.write_text(f"{time.time_ns()}\n", encoding="utf-8")
    else:
        file.touch()
        os.utime(file, (0, 0))
    return str(file)
