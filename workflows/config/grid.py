"""Experiments, a budget and defaults, resolved into rows and cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workflows import plugins
from workflows.config.datasets import ROOM, Dataset
from workflows.config.experiments import Experiment, ExperimentRow, MoreRows
from workflows.config.names import SAMPLES
from workflows.config.plan import PlannedRow
from workflows.config.reading import explain, parse, read_yaml, yaml_files
from workflows.config.settings import Budget, Defaults, of_length
from workflows.errors import ConfigError, known
from workflows.generators import GENERATORS
from workflows.knobs import Generative, HasKnobs, Training, variant
from workflows.metrics import FEWEST_IMAGES, OF_SAMPLES
from workflows.registry import NETWORKS, knobs_type, parse_knobs

# Neighbours are looked for among the training images.
FEWEST_TRAINED = max(FEWEST_IMAGES[metric] for metric in OF_SAMPLES)
# Models that do not know classes have neither guidance nor hidden classes.
UNCONDITIONAL = {"label_dropout": 0.0, "guidance": 1.0}


@dataclass(frozen=True)
class Cell(HasKnobs):
    """One training run. defaults: what stands for a knob that a finished run's record lacks.

    id: `<dataset>/<method>/<variant>/seed<k>`.
    """

    id: str
    knobs: Training | Generative
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Grid:
    """A budget's tables and the cells behind them. tables: by name. cells: by id."""

    name: str
    budget: Budget
    tables: Mapping[str, Experiment]
    rows: tuple[PlannedRow, ...]
    cells: Mapping[str, Cell] = field(hash=False)

    def cell(self, cell_id: str) -> Cell:
        """The cell of that id. Raises ConfigError naming the nearest ids."""
        known(cell_id, self.cells, f"budget {self.name}: cell", "make cells lists all of them")
        return self.cells[cell_id]

    def tables_of(self, cell_id: str) -> list[str]:
        """The tables that show a cell or a model on its latents or codes, sorted."""
        users = {cell.id for cell in self.cells.values() if cell.first_stage == cell_id}
        return sorted({row.table for row in self.rows if row.cell in {cell_id, *users}})

    def protocols_of(self, table: str) -> list[str]:
        """The protocols that a table shows, sorted, but that of the published numbers last."""
        if self.tables[table].stage == 2:
            return [SAMPLES]
        evaluation = self.budget.evaluation
        wanted = evaluation.table_protocols.get(table, evaluation.protocols)
        return sorted(wanted, key=lambda name: (name == "as_published", name))

    def protocols(self, cell_id: str) -> list[str]:
        """The protocols that a cell is measured in: those of the tables that show the cell, and the
        budget's for a first stage that no table shows.
        """
        shown = {row.table for row in self.rows if row.cell == cell_id}
        names = {name for table in shown for name in self.protocols_of(table)}
        return sorted(names or self.budget.evaluation.protocols)

    def metrics(self, cell_id: str) -> list[str] | None:
        """What is measured of a model with frozen networks: what its tables show; else None."""
        if getattr(self.cells[cell_id].knobs, "network", None) != "frozen":
            return None
        shown = {
            name
            for row in self.rows
            if row.cell == cell_id
            for name in self.tables[row.table].metrics
        }
        return sorted(shown)

    def labels(self, table: str, every: bool = False) -> list[str]:
        """The rows of a table in order, whether or not this budget has a dataset for them.

        every: also those that the budget leaves out, as for a table that the budget leaves out.
        """
        if every or table in self.budget.without:
            return [label for label, _ in self.tables[table].expanded({})]
        return [label for label, _ in shown_rows(table, self.tables[table], self.budget)]


def shown_rows(
    table: str, experiment: Experiment, budget: Budget
) -> list[tuple[str, ExperimentRow]]:
    """The rows of a table, with their labels, that a budget shows."""
    only = budget.table_rows.get(table)
    expanded = experiment.expanded(budget.sweeps_of(table))
    return [(label, row) for label, row in expanded if only is None or label in only]


def read_budgets(room: Path = ROOM) -> dict[str, Budget]:
    """Every budget by name, sorted. Raises ConfigError."""
    return {name: read_yaml(file, Budget) for name, file in yaml_files(room / "budgets").items()}


def load_grid(budget: str, datasets: Mapping[str, Dataset], room: Path = ROOM) -> Grid:
    """Read the budget and every experiment. datasets: all there are, by name.

    Raises ConfigError naming the file, the key and what is allowed.
    """
    files = yaml_files(room / "budgets")
    file = files[known(budget, files, "config: budget")]
    settings = read_yaml(file, Budget)
    defaults = read_yaml(room / "defaults.yaml", Defaults)
    experiments = yaml_files(room / "experiments")
    tables = {name: read_yaml(path, Experiment) for name, path in experiments.items()}
    own = _own_experiments()
    for name, path in own.items():
        there = tables.get(name)
        tables[name] = _with_rows(there, path) if there else read_yaml(path, Experiment)
    _check_budget(settings, file, tables, datasets)
    maker = _Maker(settings, defaults, datasets, file, {**experiments, **own}, room)
    rows: list[PlannedRow] = []
    cells: dict[str, Cell] = {}
    for row, made in maker.rows(tables):
        rows.append(row)
        for cell in made:
            if cells.setdefault(cell.id, cell) != cell:
                raise ConfigError(
                    f"{file}: role_knobs: cell '{cell.id}' is already another run; a dataset that "
                    "serves two roles needs equal settings"
                )
    return Grid(budget, settings, tables, tuple(rows), cells)


def _own_experiments() -> dict[str, Path]:
    """The files of the user's folder, if there is one."""
    folder = plugins.experiments()
    if folder is None:
        return {}
    files = yaml_files(folder)
    if not files:
        raise ConfigError(f"{folder}: experiments: no file *.yaml in this folder")
    return files


def _with_rows(table: Experiment, path: Path) -> Experiment:
    """A table with the rows that a user's file of the same name adds."""
    content = table.model_dump(exclude_unset=True)
    rows = [*content["rows"], *read_yaml(path, MoreRows).rows]
    return parse({**content, "rows": rows}, Experiment, str(path))


@dataclass(frozen=True)
class _Maker:
    """Makes the cells of rows. file: the budget's. files: table -> its file, the user's if rows
    were added. room: the folder of all configuration.
    """

    budget: Budget
    defaults: Defaults
    datasets: Mapping[str, Dataset]
    file: Path
    files: Mapping[str, Path]
    room: Path

    def rows(self, tables: Mapping[str, Experiment]) -> Iterator[tuple[PlannedRow, list[Cell]]]:
        """Every row on each of its datasets and seeds, with its cell and the cell's first stage."""
        for table, experiment in tables.items():
            roles = [role for role in experiment.roles if self.budget.roles[role] is not None]
            for role, (label, row) in product(roles, shown_rows(table, experiment, self.budget)):
                alone = self.budget.untrained_rows.get(table, [])
                if row.method is None or table in self.budget.without or label in alone:
                    continue
                make = self._of_stage_1 if experiment.stage == 1 else self._of_stage_2
                where = f"{self.files[table]}: row '{label}' ({row.method})"
                for seed in self.budget.seeds_of(table, role)[: row.seeds]:
                    try:
                        cells = make(experiment, role, row, seed)
                    except ValidationError as error:
                        lines = explain(error, f"{where} at {self.file}")
                        raise ConfigError("\n".join(lines)) from None
                    except ValueError as error:
                        raise ConfigError(f"{where}: {error}") from None
                    yield PlannedRow(table=table, row=label, cell=cells[0].id), cells

    def _of_stage_1(
        self, experiment: Experiment, role: str, row: ExperimentRow, seed: int
    ) -> list[Cell]:
        method, asked = str(row.method), row.knobs
        if role in experiment.networks:
            asked["network"] = experiment.networks[role]
        if experiment.first_stages:
            return [self._first_stage(method, role, asked, seed)]
        if asked.get("network") != "frozen":
            return [self._autoencoder(method, role, asked, seed)]
        # All seeds have the same latents: what differs is how the quantiser begins.
        first = self._autoencoder("autoencoder", role, {"network": "convnet"}, self.budget.seeds[0])
        return [self._autoencoder(method, role, {**asked, "first_stage": first.id}, seed), first]

    def _of_stage_2(
        self, experiment: Experiment, role: str, row: ExperimentRow, seed: int
    ) -> list[Cell]:
        dataset, file = self._dataset(role)
        method, asked = str(row.method), row.knobs
        if role in experiment.conditional:
            asked["conditional"] = True
        lacking = self.defaults.of_generator(method)
        start = {**lacking, **self.budget.generation.of_generator(role, method)}
        if not {**start, **asked}["conditional"]:
            start |= UNCONDITIONAL
        elif dataset.classes is None:
            raise ValueError(f"conditional: {file}: classes: the dataset has none to ask for")
        if dataset.trained < FEWEST_TRAINED:
            raise ValueError(
                f"{file}: images.train: {dataset.images.train} leaves {dataset.trained} to train "
                f"on, and the metrics of samples need {FEWEST_TRAINED} or more"
            )
        first = []
        if row.first_stage is not None:
            first = [self._first_stage(row.first_stage, role, row.first_stage_knobs, seed)]
        # Of what is set for all methods a cell has what its method takes.
        takes = {*GENERATORS[method].knobs.model_fields, *asked}
        wanted = {name: value for name, value in {**start, **asked}.items() if name in takes}
        name = variant(wanted, start)
        name = _behind(first[0], name) if first else name
        identity = {"dataset": dataset.name, "method": method, "seed": seed}
        identity["first_stage"] = first[0].id if first else None
        knobs = parse_knobs({**identity, **wanted})
        return [Cell(f"{dataset.name}/{method}/{name}/seed{seed}", knobs, lacking), *first]

    def _first_stage(self, method: str, role: str, asked: Mapping[str, Any], seed: int) -> Cell:
        generation = self.budget.generation
        of_budget = generation.of_first_stage(role, method)
        network = self._network(method, role, {**of_budget, **asked})
        of_budget |= generation.role_network_first_stage.get(role, {}).get(network, {})
        takes = knobs_type(method, network).model_fields
        of_budget = {name: value for name, value in of_budget.items() if name in takes}
        return self._autoencoder(method, role, {**of_budget, **asked}, seed)

    def _network(self, method: str, role: str, asked: Mapping[str, Any]) -> str:
        of_method, of_role = self.defaults.methods.get(method, {}), self.budget.of_role(role)
        return str({**self.defaults.knobs, **of_method, **of_role, **asked}["network"])

    def _autoencoder(self, method: str, role: str, asked: Mapping[str, Any], seed: int) -> Cell:
        dataset, file = self._dataset(role)
        own = {**self.defaults.methods.get(method, {}), **self.budget.of_role(role)}
        asked = dict(asked)
        length = asked.pop("length", 1)
        network = self._network(method, role, asked)
        lacking = self.defaults.of_autoencoder(method, network, dataset.channels)
        of_network = self.budget.network_knobs.get(network, {})
        start = {**lacking, **of_network, **own}
        if network == "frozen":
            # The budget's batch and epochs are those of whole autoencoders.
            start |= of_network
        if length != 1:
            asked |= of_length(length, start, dataset.trained)
        # Of what is set for all methods a cell has what its method takes. What a row asks for
        # beside that is refused, because it would change nothing.
        takes = {*knobs_type(method, network).model_fields, *asked}
        wanted = {name: value for name, value in {**start, **asked}.items() if name in takes}
        identity = {"dataset": dataset.name, "method": method, "seed": seed}
        knobs = parse_knobs({**identity, **wanted})
        misfit = NETWORKS[network].misfit(knobs, dataset.image_size)
        if misfit:
            raise ValueError(f"{file}: image_size: {dataset.image_size} {misfit}")
        return Cell(f"{dataset.name}/{method}/{variant(wanted, start)}/seed{seed}", knobs, lacking)

    def _dataset(self, role: str) -> tuple[Dataset, Path]:
        """The dataset of a role, and its file."""
        name = str(self.budget.roles[role])
        return self.datasets[name], self.room / "datasets" / f"{name}.yaml"


def _behind(first: Cell, own: str) -> str:
    """A generative model's variant begins with its first stage's: cvq_vae-D4. Behind a plus sign
    stands what is different about the model itself: cvq_vae-D4+guidance2.0.
    """
    _, method, below, _ = first.id.split("/")
    name = method if below == "default" else f"{method}-{below}"
    return name if own == "default" else f"{name}+{own}"


def _check_budget(
    budget: Budget, file: Path, tables: Mapping[str, Experiment], datasets: Mapping[str, Dataset]
) -> None:
    """Refuse names of tables and datasets that there are not, and a dataset twice in a table."""
    rows = ("untrained_rows", "table_rows")
    keys = ("without", *rows, "table_sweeps", "table_seeds", "table_role_seeds")
    for key in (*keys, "evaluation.table_protocols"):
        for table in attrgetter(key)(budget):
            known(table, tables, f"{file}: {key}: table")
    for key in rows:
        for table, only in getattr(budget, key).items():
            labels = [label for label, _ in tables[table].expanded(budget.sweeps_of(table))]
            for row in only:
                known(row, labels, f"{file}: {key}.{table}: row")
    for role, dataset in budget.roles.items():
        if dataset is not None:
            known(dataset, sorted(datasets), f"{file}: roles.{role}: dataset")
    for table, experiment in tables.items():
        seen: dict[str, str] = {}
        for role in experiment.roles:
            dataset = budget.roles[role]
            if dataset is not None and seen.setdefault(dataset, role) != role:
                raise ConfigError(
                    f"{file}: roles: '{dataset}' is both {seen[dataset]} and {role}, which table "
                    f"'{table}' shows beside each other"
                )
