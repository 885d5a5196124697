"""What a run of Snakemake has to make, decided from records before any job starts.

The rules ask an object of this module; nothing here knows Snakemake, so tests ask the same object.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflows.config.datasets import read_datasets
from workflows.config.grid import Cell, load_grid, read_budgets
from workflows.config.plan import find_plan
from workflows.config.planning import make_plan
from workflows.config.provenance import ROOT, made_by
from workflows.config.reading import parse
from workflows.config.settings import RunConfig
from workflows.data.preparation import changed, is_prepared, missing
from workflows.data.sources import absence
from workflows.data.weight_sources import NETWORKS
from workflows.data.weight_sources import changed as weights_changed
from workflows.errors import ConfigError
from workflows.metrics import OF_RECONSTRUCTIONS, OF_SAMPLES, needs_features
from workflows.records.state import State, Today, ToMake, states, to_make

CACHE = Path(".cache")
DATA, WEIGHTS, DUE = CACHE / "datasets", CACHE / "weights", CACHE / "due"
PUBLISHED = Path("results/published")
RECORDS = ("metrics.csv", "train.json", "evaluation.json")
FILM = "film.safetensors"
ANY_CELL = r"[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/seed[0-9]+"


class Run:
    """What one run makes, decided as it begins.

    absent: dataset -> what to do, for those that this machine cannot have. found: the cells'
    states. needed: what is to be made, as far as known. prepared_now: datasets that this run
    prepares. new_weights: whether the run converts the metric networks' weights, and has finished
    cells. unsure: datasets whose finished cells may turn out to be outdated when these are done.
    """

    def __init__(self, said: Mapping[str, Any]) -> None:
        """said: Snakemake's `--config`. Raises ConfigError."""
        said = {**said, "budget": str(said.get("budget", "embedded"))}
        self.config = parse(said, RunConfig, "config")
        # Not those that editors and file managers hide.
        self.published = sorted(str(file) for file in PUBLISHED.glob("[!.]*.csv"))
        if not self.published:
            raise ConfigError(
                f"{PUBLISHED.absolute()}: no published numbers; run Snakemake in its clone: "
                f"cd {shlex.quote(str(ROOT))}"
            )
        self.datasets = read_datasets()
        self.grid = load_grid(self.config.budget, self.datasets)
        self.results = f"results/{self.grid.name}"
        cells = self.grid.cells
        used = {cell.dataset for cell in cells.values()}
        ready = {name for name in used if is_prepared(DATA / name)}
        lacking = sorted(used - ready)
        self.absent = {name: why for name in lacking if (why := absence(self.datasets[name]))}
        if isinstance(self.config.retrain, str):
            dataset = self.cell(self.config.retrain).dataset
            if dataset in self.absent:
                raise ConfigError(f"config: retrain: {dataset}: {self.absent[dataset]}")
        self.plan = make_plan(self.grid, self.datasets, self.absent)
        self.found = states(self.plan, Today.look(CACHE))
        self.needed = self._to_make(self.found)
        stale = {name for name in used if changed(self.datasets[name], DATA / name)}
        wanted = {cells[name].dataset for name in self.needed.evaluate}
        self.prepared_now = (stale | (wanted - ready)) - {*self.absent}
        kept = any(state.finished for state in self.found.values())
        converted = all((WEIGHTS / f"{name}.safetensors").exists() for name in NETWORKS)
        compared = kept and bool(self.needed.evaluate)
        self.new_weights = weights_changed(WEIGHTS) or (compared and not converted)
        trained = {cell.dataset for name, cell in cells.items() if name not in self.needed.train}
        self.unsure = used if self.new_weights else trained & self.prepared_now

    def _to_make(self, found: Mapping[str, State]) -> ToMake:
        return to_make(self.plan, found, lambda name: self.config.retrain in (True, name))

    def cell(self, name: str) -> Cell:
        """The cell of that id. Raises ConfigError that names budgets which have it, or near ids."""
        if name not in self.grid.cells:
            budgets = [b for b in read_budgets() if name in load_grid(b, self.datasets).cells]
            if budgets:
                raise ConfigError(
                    f"budget {self.grid.name} has no cell '{name}', which is of "
                    f"{', '.join(budgets)}; use --config budget={budgets[0]}"
                )
        return self.grid.cell(name)

    def gone(self) -> dict[str, str]:
        """Dataset -> why it cannot be had, also after a download that failed in this run."""
        tried = {name: why for name in self.prepared_now if (why := missing(DATA / name))}
        return self.absent | tried

    def needed_now(self) -> ToMake:
        """What is to be made by the records and the prepared files as they are now."""
        return self.needed | self._to_make(states(self.plan, Today.look(CACHE)))

    def makeable(self, named: Iterable[str]) -> set[str]:
        """The cells that rules can make: these, and those that may turn out to be among them.

        The files of a finished cell are no rule's output, so that nothing but its records decides
        whether they are made again.
        """
        cells = self.grid.cells.items()
        named = {*named, *(name for name, cell in cells if cell.dataset in self.unsure)}
        return {name for name, cell in cells if name in named and cell.dataset not in self.absent}

    def cells_to(
        self, kind: str, stage: int, filmed: bool = False, on_latents: bool = False
    ) -> str:
        """A pattern of the cells of a stage that rules can make; filmed, on_latents: of those alone
        that are filmed or trained on a first stage's latents.

        kind: "train" or "evaluate".
        """
        names = self.makeable(getattr(self.needed, kind))
        cells = {name: self.plan.cells[name] for name in names}
        return pattern(
            name
            for name, cell in cells.items()
            if cell.stage == stage
            and cell.filmed >= filmed
            and (cell.first_stage is not None) >= on_latents
        )

    def refused(self) -> str:
        """A pattern of files of other budgets, and of cells that are unknown or have no data."""
        made = self.makeable(self.needed.evaluate)
        kept = {name for name, state in self.found.items() if state.finished}
        others = [name for name in read_budgets() if name != self.grid.name]
        cells = f"{self.results}/cells"
        of_others = f"(?:results|figures)/(?:{pattern(others)})/.+"
        return f"{of_others}|{cells}/(?!(?:{pattern(made | kept)})/){ANY_CELL}/[^/]+"

    def refusal(self, file: str) -> str:
        """Why no rule makes a file that `refused` matches. Raises ConfigError."""
        _, budget, *parts = file.split("/")
        if budget != self.grid.name:
            return (
                f"{file} is of budget {budget}, and this run is of budget {self.grid.name}; use "
                f"snakemake --cores 8 --config budget={budget} -- {file}"
            )
        # Of this budget only files of cells are refused.
        cell = "/".join(parts[1:-1])
        dataset = self.cell(cell).dataset
        return f"{cell}: dataset '{dataset}': {self.absent[dataset]}"

    def files_of(self, cells: Iterable[str], names: Iterable[str]) -> list[str]:
        """Files of those of these cells that are finished or can be made.

        The records of the datasets that this run prepares are among them, because Snakemake works
        the inputs of a rule out again when a checkpoint that it depends on is done. The cells of a
        dataset that turned out to be missing are then left out.
        """
        gone, dataset = self.gone(), {name: self.grid.cells[name].dataset for name in cells}
        made = [name for name in dataset if self.found[name].finished or dataset[name] not in gone]
        tried = sorted(self.prepared_now.intersection(dataset.values()))
        files = [str(DATA / name / "dataset.json") for name in tried]
        return files + [f"{self.results}/cells/{cell}/{name}" for cell in made for name in names]

    def records_of(self, table: str | None = None) -> list[str]:
        """What is shown of all cells, or of those of a table: their records, and films."""
        shown = {row.cell for row in self.grid.rows if table in (None, row.table)}
        cells = [name for name in self.grid.cells if name in shown]
        filmed = [name for name in cells if self.plan.cells[name].filmed]
        return self.files_of(cells, RECORDS) + self.files_of(filmed, [FILM])

    def figures_of(self, table: str) -> list[str]:
        """The figures that show a table's runs."""
        return [name for name, figure in self.plan.figures.items() if figure.table == table]

    def drawn(self, table: str) -> list[str]:
        """The files of a table's figures, beside their SVGs."""
        files = []
        for figure in self.figures_of(table):
            files += [f"{figure}.png", f"{figure}.csv", *self.plan.figures[figure].more]
        return [f"figures/{self.grid.name}/{file}" for file in files]

    def to_train_on(self) -> list[str]:
        """Names of the datasets of the cells that this run makes."""
        names = {self.grid.cells[name].dataset for name in self.needed.evaluate}
        return sorted(names - {*self.gone()})

    def plan_is_due(self) -> bool:
        """Whether the plan that is written down is not today's, or numbers were collected without
        a finished cell: a record that was copied here may be older than they are.
        """
        if find_plan(Path(self.results, "plan.json")) != self.plan:
            return True
        try:
            with Path(self.results, "measured.csv").open(encoding="utf-8", newline="") as lines:
                known = {line["cell"] for line in csv.DictReader(lines)}
        except (OSError, ValueError, KeyError):
            return False
        return any(self.found[row.cell].finished for row in self.grid.rows if row.cell not in known)

    def references_of(self, cell: str) -> list[str]:
        """Features that a cell is compared with, a file for each of its protocols.

        A name has the versions of the protocol and of distances between features, and how many
        images are compared, 0 for all.
        """
        about, budget = self.plan.cells[cell], self.grid.budget
        if not needs_features(about.evaluation.metrics):
            return []
        split, metric, images = "test", OF_RECONSTRUCTIONS["rFID"], budget.evaluation.fid_images
        if about.stage == 2:
            split, metric = "train", OF_SAMPLES["FID"]
            images = budget.generation.reference_images
        folder, evaluation = CACHE / "reference" / about.dataset, about.evaluation
        versions = [(name, evaluation.versions[name]) for name in evaluation.protocols]
        return [
            f"{folder}/{split}-{name}-v{version}.{metric}-{images or 0}.safetensors"
            for name, version in versions
        ]

    def said_first(self) -> str:
        """How many of the budget's cells come from records and how many are made, in a line."""
        made = self.needed.evaluate
        kept = [one for name, one in self.found.items() if one.finished and name not in made]
        of = f" ({made_by(one.train.commit for one in kept if one.train)})" if kept else ""
        again = "; --config retrain=true makes all" if kept else ""
        known = f"{len(kept)} cell{'' if len(kept) == 1 else 's'} from records{of}"
        return f"Budget {self.grid.name}: {known}, {len(made)} to make{again}"


def pattern(names: Iterable[str]) -> str:
    """A regular expression of these names and no others, which matches nothing if there is none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def due(name: str, now: bool) -> str:
    """The path of a file below .cache/due that a rule has as an input to be told when to run.

    Snakemake makes again what is older than an input. A file's own time may be wrong, as copies and
    clones have it, so what is to be made is decided from records, and this file says so: it is
    newer than every output if `now`, and older than every output else. Its content is another each
    time, because Snakemake passes over an input that is newer and has the same bytes.
    """
    file = DUE / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if now:
        file.write_text(f"{time.time_ns()}\n", encoding="utf-8")
    else:
        file.touch()
        os.utime(file, (0, 0))
    return str(file)
