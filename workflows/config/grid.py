"""Resolve the experiments, a budget and the defaults into the rows of tables and their cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

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
from workflows.knobs import Closed, Generative, Training, variant
from workflows.metrics import FEWEST_IMAGES, OF_SAMPLES
from workflows.registry import NETWORKS, knobs_type, parse_knobs

# The metrics of samples compare samples with training images, so they need this many of them.
FEWEST_TRAINED = max(FEWEST_IMAGES[metric] for metric in OF_SAMPLES)
# A model that does not know classes has neither guidance nor hidden classes.
UNCONDITIONAL = {"label_dropout": 0.0, "guidance": 1.0}


class Cell(NamedTuple):
    """A run. id: `<dataset>/<method>/<variant>/seed<k>`. knobs: the settings."""

    id: str
    knobs: Training | Generative


@dataclass(frozen=True)
class Grid:
    """All rows and cells of a budget. tables: experiments by name. cells: id -> settings."""

    name: str
    budget: Budget
    defaults: Defaults
    tables: Mapping[str, Experiment]
    rows: tuple[PlannedRow, ...]
    cells: Mapping[str, Training | Generative]

    def protocols_of(self, table: str) -> list[str]:
        """Return the protocols that a table shows, `as_published` last."""
        if self.tables[table].stage == 2:
            return [SAMPLES]
        evaluation = self.budget.evaluation
        protocols = evaluation.table_protocols.get(table, evaluation.protocols)
        return sorted(protocols, key=lambda name: name == "as_published")

    def labels(self, table: str, every: bool = False) -> list[str]:
        """Return the labels of a table's rows in order, with or without datasets for them.

        every: include the rows that the budget leaves out. A table that the budget leaves out has
        all its rows in any case.
        """
        if every or table in self.budget.without:
            return [label for label, _ in self.tables[table].expanded({})]
        return [label for label, _ in shown_rows(table, self.tables[table], self.budget)]


def shown_rows(
    table: str, experiment: Experiment, budget: Budget
) -> list[tuple[str, ExperimentRow]]:
    """Return the rows of a table that a budget shows, each with its label."""
    only = budget.table_rows.get(table)
    expanded = experiment.expanded(budget.sweeps_of(table))
    return [(label, row) for label, row in expanded if only is None or label in only]


def read_budgets(room: Path = ROOM) -> dict[str, Budget]:
    """Return all budgets by name, sorted. Raises ConfigError."""
    return {name: read_yaml(file, Budget) for name, file in yaml_files(room / "budgets").items()}


def load_grid(budget: str, datasets: Mapping[str, Dataset], room: Path = ROOM) -> Grid:
    """Return the grid of a budget.

    datasets: all datasets by name. room: the folder of the configuration. Raises ConfigError naming
    the file, the key and what is allowed.
    """
    files = yaml_files(room / "budgets")
    file = files[known(budget, files, "config: budget")]
    settings = read_yaml(file, Budget)
    defaults = read_yaml(room / "defaults.yaml", Defaults)
    tables, table_files = _read_tables(room)
    _check_budget(settings, file, tables, datasets)
    builder = _Builder(settings, defaults, datasets, file, table_files)
    rows: list[PlannedRow] = []
    cells: dict[str, Training | Generative] = {}
    for row, row_cells in builder.rows(tables):
        rows.append(row)
        for cell_id, knobs in row_cells:
            if cells.setdefault(cell_id, knobs) != knobs:
                raise ConfigError(
                    f"{file}: role_knobs or generation: cell '{cell_id}' is already another run; a "
                    "dataset that serves two roles needs equal settings"
                )
    if not cells:
        raise ConfigError(f"{file}: without, untrained_rows, roles: they leave no cell to train")
    return Grid(budget, settings, defaults, tables, tuple(rows), cells)


def _read_tables(room: Path) -> tuple[dict[str, Experiment], dict[str, Path]]:
    """Return the repository's tables and the user's, and the last file that each was read from."""
    files = yaml_files(room / "experiments")
    tables = {name: read_yaml(path, Experiment) for name, path in files.items()}
    folder = plugins.experiments()
    user_files = yaml_files(folder) if folder else {}
    if folder and not user_files:
        raise ConfigError(f"{folder}: experiments: no file *.yaml in this folder")
    for name, path in user_files.items():
        if name not in tables:
            tables[name] = read_yaml(path, Experiment)
            continue
        # The user's file adds rows to a table of the repository.
        content = tables[name].model_dump(exclude_unset=True)
        content["rows"] += read_yaml(path, MoreRows).rows
        tables[name] = parse(content, Experiment, str(path))
    return tables, files | user_files


@dataclass(frozen=True)
class _Builder:
    """Builds rows and cells.

    file: the budget's file. table_files: table -> the file to name in messages, which is the user's
    file if that file adds rows.
    """

    budget: Budget
    defaults: Defaults
    datasets: Mapping[str, Dataset]
    file: Path
    table_files: Mapping[str, Path]

    def rows(self, tables: Mapping[str, Experiment]) -> Iterator[tuple[PlannedRow, list[Cell]]]:
        """Yield every row on each dataset and seed, with its cell and the cell's first stage."""
        for table, experiment in tables.items():
            if table in self.budget.without:
                continue
            build = self._stage_1 if experiment.stage == 1 else self._stage_2
            untrained = self.budget.untrained_rows.get(table, [])
            roles = [role for role in experiment.roles if self.budget.roles[role] is not None]
            for role, (label, row) in product(roles, shown_rows(table, experiment, self.budget)):
                if row.method is None or label in untrained:
                    continue
                where = f"{self.table_files[table]}: row '{label}' ({row.method})"
                for seed in self.budget.seeds_of(table)[: row.seeds]:
                    try:
                        cells = build(experiment, role, row, seed)
                    except ValidationError as error:
                        problems = explain(error, f"{where} at {self.file}")
                        raise ConfigError("\n".join(problems)) from None
                    except ValueError as error:
                        raise ConfigError(f"{where}: {error}") from None
                    yield PlannedRow(table=table, row=label, cell=cells[0].id), cells

    def _stage_1(
        self, experiment: Experiment, role: str, row: ExperimentRow, seed: int
    ) -> list[Cell]:
        method, row_knobs = str(row.method), row.knobs
        if experiment.network:
            row_knobs["network"] = experiment.network
        if experiment.first_stages or row_knobs.get("network") != "frozen":
            return [self._autoencoder(method, role, row_knobs, seed, experiment.first_stages)]
        # All seeds share one first stage, so seeds differ only in how the quantiser begins.
        network = {"network": "convnet"}
        first_stage = self._autoencoder("autoencoder", role, network, self.budget.seeds[0])
        row_knobs["first_stage"] = first_stage.id
        return [self._autoencoder(method, role, row_knobs, seed), first_stage]

    def _stage_2(
        self, experiment: Experiment, role: str, row: ExperimentRow, seed: int
    ) -> list[Cell]:
        dataset, file = self._dataset(role)
        method, row_knobs = str(row.method), row.knobs
        if role in experiment.conditional:
            row_knobs["conditional"] = True
        start = self.defaults.of_generator(method)
        start |= self.budget.generation.of_generator(role, method)
        if not {**start, **row_knobs}["conditional"]:
            start |= UNCONDITIONAL
        elif dataset.classes is None:
            raise ValueError(f"conditional: {file}: classes: the dataset has no classes")
        if dataset.trained < FEWEST_TRAINED:
            raise ValueError(
                f"{file}: images.train: {dataset.images.train} leaves {dataset.trained} to train "
                f"on, and the metrics of samples need {FEWEST_TRAINED} or more"
            )
        knobs = _taken(GENERATORS[method].knobs, start, row_knobs)
        identity = {"dataset": dataset.name, "method": method, "seed": seed, "first_stage": None}
        name = variant(knobs, start)
        first_stages = []
        if row.first_stage is not None:
            first = self._autoencoder(row.first_stage, role, row.first_stage_knobs, seed, True)
            first_stages.append(first)
            identity["first_stage"] = first.id
            name = _behind(first.id, name)
        cell_id = f"{dataset.name}/{method}/{name}/seed{seed}"
        return [Cell(cell_id, parse_knobs({**identity, **knobs})), *first_stages]

    def _autoencoder(
        self,
        method: str,
        role: str,
        row_knobs: Mapping[str, Any],
        seed: int,
        is_first_stage: bool = False,
    ) -> Cell:
        """Return the cell of an autoencoder, or of a quantiser on frozen networks.

        is_first_stage: apply the budget's settings of first stages, as if the row asked for them.
        """
        dataset, file = self._dataset(role)
        generation = self.budget.generation
        overrides = {
            **self.defaults.methods.get(method, {}),
            **self.budget.knobs,
            **self.budget.role_knobs.get(role, {}),
        }
        stage_knobs = generation.of_first_stage(role, method) if is_first_stage else {}
        network = {**self.defaults.knobs, **overrides, **stage_knobs, **row_knobs}["network"]
        if is_first_stage:
            stage_knobs |= generation.role_network_first_stage.get(role, {}).get(network, {})
        of_network = self.budget.network_knobs.get(network, {})
        start = self.defaults.of_autoencoder(method, network, dataset.channels)
        start |= {**of_network, **overrides}
        if network == "frozen":
            # The budget's other batches and epochs are those of whole autoencoders.
            start |= of_network
        row_knobs = dict(row_knobs)
        length = row_knobs.pop("length", 1)
        if length != 1:
            row_knobs |= of_length(length, start, dataset.trained)
        settings = _taken(knobs_type(method, network), {**start, **stage_knobs}, row_knobs)
        identity = {"dataset": dataset.name, "method": method, "seed": seed}
        knobs = parse_knobs({**identity, **settings})
        misfit = NETWORKS[network].misfit(knobs, dataset.image_size)
        if misfit:
            raise ValueError(f"{file}: image_size: {dataset.image_size} {misfit}")
        name = variant(settings, start)
        return Cell(f"{dataset.name}/{method}/{name}/seed{seed}", knobs)

    def _dataset(self, role: str) -> tuple[Dataset, Path]:
        """Return the dataset of a role, and its file."""
        name = str(self.budget.roles[role])
        return self.datasets[name], self.file.parents[1] / "datasets" / f"{name}.yaml"


def _taken(
    kind: type[Closed], start: Mapping[str, Any], row_knobs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of a cell: those of `start` that the type has, and the row's.

    A setting of the row that the type does not have stays, so that pydantic refuses it.
    """
    taken = {name: value for name, value in start.items() if name in kind.model_fields}
    return {**taken, **row_knobs}


def _behind(first_stage: str, name: str) -> str:
    """Return the variant of a generative model, which begins with the first stage: cvq_vae-D4.

    What differs in the model itself follows a plus sign: cvq_vae-D4+guidance2.0.
    """
    _, method, below, _ = first_stage.split("/")
    prefix = method if below == "default" else f"{method}-{below}"
    return prefix if name == "default" else f"{prefix}+{name}"


def _check_budget(
    budget: Budget, file: Path, tables: Mapping[str, Experiment], datasets: Mapping[str, Dataset]
) -> None:
    """Raise ConfigError if the budget names an unknown table, row or dataset.

    A table must not show one dataset in two roles either.
    """
    keys_of_rows = ("untrained_rows", "table_rows")
    keys_of_tables = ("without", "table_sweeps", "table_seeds")
    for key in (*keys_of_rows, *keys_of_tables, "evaluation.table_protocols"):
        for table in attrgetter(key)(budget):
            known(table, tables, f"{file}: {key}: table")
    for key in keys_of_rows:
        for table, rows in getattr(budget, key).items():
            labels = [label for label, _ in tables[table].expanded(budget.sweeps_of(table))]
            for row in rows:
                known(row, labels, f"{file}: {key}.{table}: row")
    for role, dataset in budget.roles.items():
        if dataset is not None:
            known(dataset, datasets, f"{file}: roles.{role}: dataset")
    for table, experiment in tables.items():
        role_of: dict[str, str] = {}
        for role in experiment.roles:
            dataset = budget.roles[role]
            if dataset is not None and role_of.setdefault(dataset, role) != role:
                raise ConfigError(
                    f"{file}: roles: '{dataset}' is both {role_of[dataset]} and {role}, and "
                    f"table '{table}' shows both roles"
                )
