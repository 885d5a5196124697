"""Experiments, a budget and defaults, resolved into rows and cells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workflows.config.datasets import Dataset
from workflows.config.experiments import Experiment, ExperimentRow
from workflows.config.names import SAMPLES
from workflows.config.reading import explain, read_yaml, yaml_files
from workflows.config.settings import Budget, Defaults
from workflows.errors import ConfigError, known, nearest
from workflows.knobs import IDENTITY, Diffusion, Training, variant
from workflows.registry import METHODS, NETWORKS, knobs_type, parse_knobs

ROOM = Path(__file__).parents[1]
# Models that do not know classes have neither guidance nor hidden classes.
UNCONDITIONAL = {"label_dropout": 0.0, "guidance": 1.0}


@dataclass(frozen=True)
class Cell:
    """One training run.

    id: `<dataset>/<method>/<variant>/seed<k>`. knobs: of the type that `registry.parse_knobs`
    gives. defaults: what stands for a knob that a finished run's record lacks.
    """

    id: str
    knobs: Any
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def dataset(self) -> str:
        """The name of the dataset that the cell is trained on."""
        return self.knobs.dataset

    @property
    def first_stage(self) -> str | None:
        """Id of the cell whose latents a diffusion model diffuses; else None."""
        return self.knobs.first_stage if isinstance(self.knobs, Diffusion) else None

    @property
    def stage(self) -> int:
        """1: an autoencoder. 2: a diffusion model."""
        return 2 if isinstance(self.knobs, Diffusion) else 1


@dataclass(frozen=True)
class Row:
    """One line of a table: `cell` is the id of the run it shows."""

    table: str
    row: str
    role: str
    cell: str


@dataclass(frozen=True)
class Grid:
    """A budget's tables and the cells behind them. tables: by name. cells: by id."""

    name: str
    budget: Budget
    tables: Mapping[str, Experiment]
    rows: tuple[Row, ...]
    cells: Mapping[str, Cell] = field(hash=False)

    def cell(self, cell_id: str) -> Cell:
        """The cell of that id. Raises ConfigError naming the nearest ids."""
        known(cell_id, self.cells, f"budget {self.name}: cell", "make cells lists all of them")
        return self.cells[cell_id]

    def tables_of(self, cell_id: str) -> list[str]:
        """The tables that show a cell or a diffusion model on its latents, sorted."""
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
        """The protocols that an autoencoder is measured in: those of the tables that show it, and
        the budget's for a first stage that no table shows.
        """
        tables = {row.table for row in self.rows if row.cell == cell_id}
        shown = [self.protocols_of(table) for table in tables]
        wanted = shown or [list(self.budget.evaluation.protocols)]
        return sorted({name for names in wanted for name in names})

    def labels(self, table: str, every: bool = False) -> list[str]:
        """The rows of a table in order, whether or not this budget has a dataset for them.

        every: also those that the budget's shorter sweeps leave out, as for a table that the budget
        leaves out.
        """
        experiment = self.tables[table]
        values = (
            None if every or table in self.budget.without else sweep_of(self.budget, experiment)
        )
        return [label for label, _ in experiment.expanded(values)]


def sweep_of(budget: Budget, experiment: Experiment) -> list[int] | None:
    """The values that a budget gives the sweep of an experiment in place of its own."""
    return None if experiment.sweep is None else getattr(budget.sweeps, experiment.sweep.knob)


def read_budgets(room: Path = ROOM) -> dict[str, Budget]:
    """Every budget by name, sorted. Raises ConfigError."""
    return {file.stem: read_yaml(file, Budget) for file in yaml_files(room / "budgets")}


def load_grid(budget: str, datasets: Mapping[str, Dataset], room: Path = ROOM) -> Grid:
    """Read the budget and every experiment. datasets: all there are, by name.

    Raises ConfigError naming the file, the key and what is allowed.
    """
    known(budget, [file.stem for file in yaml_files(room / "budgets")], "config: budget")
    file = room / "budgets" / f"{budget}.yaml"
    settings = read_yaml(file, Budget)
    defaults = read_yaml(room / "defaults.yaml", Defaults)
    tables = {path.stem: read_yaml(path, Experiment) for path in yaml_files(room / "experiments")}
    _check_names(budget, tables, room)
    _check_budget(settings, file, tables, datasets)
    maker = _Maker(settings, defaults, datasets, file, room)
    rows: list[Row] = []
    cells: dict[str, Cell] = {}
    for row, made in _made(maker, tables):
        rows.append(row)
        for cell in made:
            if cells.setdefault(cell.id, cell) != cell:
                raise ConfigError(
                    f"{file}: role_knobs.{row.role}: cell '{cell.id}' is already another run; a "
                    "dataset that serves two roles needs equal settings"
                )
    conditional = {role for table in tables.values() for role in table.conditional}
    conditional |= {row.role for row in rows if getattr(cells[row.cell].knobs, "conditional", 0)}
    _check_guided(settings, file, conditional)
    return Grid(budget, settings, tables, tuple(rows), cells)


def _made(
    maker: _Maker, tables: Mapping[str, Experiment]
) -> Iterator[tuple[Row, tuple[Cell, ...]]]:
    """Every row on each of its datasets and seeds, with its cell and that cell's first stage."""
    budget = maker.budget
    for table, experiment in tables.items():
        if table in budget.without:
            continue
        for role in experiment.roles:
            if budget.roles[role] is None:
                continue
            for label, row in experiment.expanded(sweep_of(budget, experiment)):
                if row.method is None:
                    continue
                where = f"{maker.room / 'experiments' / table}.yaml: row '{label}'"
                for seed in budget.seeds_of(table, role):
                    make = maker.autoencoder if experiment.stage == 1 else maker.diffusion
                    cells = make(experiment, role, row, seed, where)
                    yield Row(table, label, role, cells[0].id), cells


@dataclass(frozen=True)
class _Maker:
    """Makes the cells of rows. file: the budget's. room: the folder of all configuration."""

    budget: Budget
    defaults: Defaults
    datasets: Mapping[str, Dataset]
    file: Path
    room: Path

    def autoencoder(
        self, experiment: Experiment, role: str, row: ExperimentRow, seed: int, where: str
    ) -> tuple[Cell, ...]:
        """The cell of a row of stage 1."""
        asked = row.knobs
        if role in experiment.networks:
            asked["network"] = experiment.networks[role]
        if experiment.first_stages:
            asked |= self.budget.generation.of_first_stage(role, str(row.method))
        return (self._autoencoder(str(row.method), role, asked, seed, where),)

    def diffusion(
        self, experiment: Experiment, role: str, row: ExperimentRow, seed: int, where: str
    ) -> tuple[Cell, ...]:
        """The cell of a row of stage 2, and that of its first stage."""
        dataset, method = self._dataset(role), str(row.method)
        asked = row.knobs
        if role in experiment.conditional:
            asked["conditional"] = True
        lacking = self.defaults.of_diffusion(method)
        start = {**lacking, **self.budget.generation.of_diffusion(role, method)}
        conditional = {**start, **asked}["conditional"]
        if conditional and dataset.classes is None:
            raise ConfigError(
                f"{where}: conditional: dataset '{dataset.name}' has no classes to ask for"
            )
        if not conditional:
            start |= UNCONDITIONAL
        first: tuple[Cell, ...] = ()
        if row.first_stage is not None:
            below = self.budget.generation.of_first_stage(role, row.first_stage)
            first = (self._autoencoder(row.first_stage, role, below, seed, where),)
        identity = {
            "dataset": dataset.name,
            "method": method,
            "seed": seed,
            "first_stage": first[0].id if first else None,
        }
        own = variant({**start, **asked}, start)
        name = own if not first else _behind(first[0], own)
        knobs = self._parse({**identity, **start, **asked}, where)
        return (Cell(f"{dataset.name}/{method}/{name}/seed{seed}", knobs, lacking), *first)

    def _autoencoder(
        self, method: str, role: str, asked: Mapping[str, Any], seed: int, where: str
    ) -> Cell:
        dataset = self._dataset(role)
        start, lacking = self._start(method, role, asked)
        identity = {"dataset": dataset.name, "method": method, "seed": seed}
        wanted = {**start, **asked}
        taken = self._taken(method, wanted, asked, where)
        knobs = self._parse({**identity, **{name: wanted[name] for name in taken}}, where)
        _check_size(knobs, dataset, where)
        shown = variant({name: wanted[name] for name in taken}, start)
        return Cell(f"{dataset.name}/{method}/{shown}/seed{seed}", knobs, lacking)

    def _start(
        self, method: str, role: str, asked: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a row starts from at this budget, and at none."""
        of_method = self.defaults.methods.get(method, {})
        settings = {**of_method, **self.budget.of_role(role)}
        network = asked.get("network", settings.get("network", "convnet"))
        channels = self._dataset(role).channels
        lacking = self.defaults.of_autoencoder(method, network, channels)
        lacking["network"] = of_method.get("network", lacking["network"])
        start = {
            **lacking,
            **self.budget.network_knobs.get(network, {}),
            **of_method,
            **self.budget.of_role(role),
        }
        return start, lacking

    def _taken(
        self, method: str, wanted: Mapping[str, Any], asked: Mapping[str, Any], where: str
    ) -> list[str]:
        """The knobs that a cell has. A knob that its method does not take would change nothing."""
        network = wanted["network"]
        if network not in METHODS[method].networks:
            raise ConfigError(
                f"{where}: network: method '{method}' does not run in '{network}'; allowed: "
                f"{', '.join(METHODS[method].networks)}"
            )
        takes = [name for name in knobs_type(method, network).model_fields if name not in IDENTITY]
        for name in asked:
            if name not in takes:
                raise ConfigError(
                    f"{where}: {name}: method '{method}' in network '{network}' does not take it; "
                    f"{nearest(name, sorted(takes))}"
                )
        return [name for name in takes if name in wanted]

    def _parse(self, content: Mapping[str, Any], where: str) -> Any:
        try:
            return parse_knobs(content)
        except ValidationError as error:
            raise ConfigError("\n".join(explain(error, f"{where} at {self.file}"))) from None

    def _dataset(self, role: str) -> Dataset:
        return self.datasets[str(self.budget.roles[role])]


def _behind(first: Cell, own: str) -> str:
    """A diffusion model's variant begins with its first stage's: cvq_vae-D4. Behind a plus sign
    stands what is different about the model itself: cvq_vae-D4+guidance2.0.
    """
    _, method, below, _ = first.id.split("/")
    name = method if below == "default" else f"{method}-{below}"
    return name if own == "default" else f"{name}+{own}"


def _check_size(knobs: Training, dataset: Dataset, where: str) -> None:
    misfit = NETWORKS[knobs.network].misfit(knobs, dataset.image_size)
    if misfit:
        raise ConfigError(f"{where}: dataset '{dataset.name}': {misfit}")


def _check_names(budget: str, tables: Mapping[str, Experiment], room: Path) -> None:
    """Names of files are parts of paths and targets."""
    if not re.fullmatch("[A-Za-z0-9_-]+", budget):
        raise ConfigError(
            f"{room / 'budgets' / budget}.yaml: a budget's name has letters, digits, _ and - only"
        )
    for table in tables:
        if not re.fullmatch("[a-z0-9_]+", table):
            raise ConfigError(
                f"{room / 'experiments' / table}.yaml: a table's name has a to z, 0 to 9 and _ only"
            )


def _check_budget(
    budget: Budget,
    file: Path,
    tables: Mapping[str, Experiment],
    datasets: Mapping[str, Dataset],
) -> None:
    """Refuse names of tables and datasets that there are not, and a dataset twice in a table."""
    groups = {
        "without": budget.without,
        "table_seeds": budget.table_seeds,
        "table_role_seeds": budget.table_role_seeds,
        "evaluation.table_protocols": budget.evaluation.table_protocols,
    }
    for key, named in groups.items():
        for table in named:
            known(table, tables, f"{file}: {key}: table")
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


def _check_guided(budget: Budget, file: Path, conditional: set[str]) -> None:
    """Refuse settings of classes for a role whose models are never asked for a class.

    conditional: the roles whose models are.
    """
    generation = budget.generation
    for role in sorted({*generation.role_knobs, *generation.role_method_knobs} - conditional):
        groups = [generation.role_knobs.get(role, {})]
        groups += generation.role_method_knobs.get(role, {}).values()
        for name, without in UNCONDITIONAL.items():
            values = [knobs[name] for knobs in groups if knobs.get(name, without) != without]
            if values:
                raise ConfigError(
                    f"{file}: generation.role_knobs.{role}: {name}: {values[0]} needs models that "
                    f"are asked for a class, and no experiment asks those of '{role}'; conditional "
                    f"roles: {', '.join(sorted(conditional)) or 'none'}"
                )
