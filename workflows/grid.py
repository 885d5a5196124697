"""Experiments, a budget and defaults, resolved into rows and cells. Pure but for reading YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflows import generation_grid
from workflows.cell import IDENTITY, Cell, base, check, check_size, defaults_of, resolve
from workflows.data import Dataset
from workflows.misfits import misfits
from workflows.naming import known
from workflows.reading import load_yaml, validate, validate_some
from workflows.registry import knobs_taken
from workflows.schema import ConfigError, refuse_unknown

ROOM = Path(__file__).parent
# Some run, to check settings with that are of no run in particular.
ANYTHING = {"dataset": "any", "method": "cvq_vae", "seed": 0}


@dataclass(frozen=True)
class Row:
    """One line of a table: `cell` is the id of the run it shows."""

    table: str
    row: str
    role: str
    cell: str


@dataclass(frozen=True)
class Grid:
    """budget: the resolved budget file. tables: name -> experiment file. cells: id -> Cell."""

    name: str
    budget: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]
    cells: Mapping[str, Cell] = field(hash=False)

    def cell(self, cell_id: str) -> Cell:
        """The cell of that id. Raises ConfigError naming the nearest ids."""
        lacking, listed = f"budget {self.name}: no cell", "make cells lists all of them"
        return self.cells[known(cell_id, self.cells, lacking, listed)]

    def tables_of(self, cell_id: str) -> list[str]:
        """The tables that show a cell or a diffusion model on its latents, sorted."""
        users = {cell.id for cell in self.cells.values() if cell.first_stage == cell_id}
        return sorted({row.table for row in self.rows if row.cell in {cell_id, *users}})

    def protocols_of(self, table: str) -> list[str]:
        """The protocols that a table shows, sorted but for those of the published numbers last."""
        if self.tables[table].get("stage") == 2:
            return ["samples"]
        evaluation = self.budget["evaluation"]
        wanted = evaluation.get("table_protocols", {}).get(table, evaluation["protocols"])
        return sorted(wanted, key=lambda name: (name == "as_published", name))

    def protocols(self, cell_id: str) -> list[str]:
        """The protocols that an autoencoder is measured in: those of the tables that show it, and
        the budget's for a first stage that none shows.
        """
        tables = {row.table for row in self.rows if row.cell == cell_id}
        shown = [self.protocols_of(table) for table in tables]
        wanted = shown or [self.budget["evaluation"]["protocols"]]
        return sorted({name for names in wanted for name in names})

    def labels(self, table: str, every: bool = False) -> list[str]:
        """The rows of a table in order, whether or not this budget has a dataset for them.

        every: also those that the budget's shorter sweeps leave out, as for a table that the
        budget leaves out.
        """
        every = every or table in self.budget.get("without", [])
        sweeps = {} if every else self.budget.get("sweeps", {})
        return [label for label, _ in _expand(self.tables[table], sweeps)]


def budgets_by_table(room: Path = ROOM) -> dict[str, list[str]]:
    """Table -> the budgets that do not leave it out, sorted. Raises ConfigError."""
    tables = [path.stem for path in (room / "experiments").glob("*.yaml")]
    budgets = {
        path.stem: load_yaml(path, "budget").get("without", [])
        for path in sorted((room / "budgets").glob("*.yaml"))
    }
    return {
        table: [name for name, without in budgets.items() if table not in without]
        for table in tables
    }


def budgets_by_role(room: Path = ROOM) -> dict[str, dict[str, str]]:
    """Role -> the budgets that have a dataset for it, sorted, each with it. Raises ConfigError."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((room / "budgets").glob("*.yaml")):
        for role, dataset in load_yaml(path, "budget")["roles"].items():
            if dataset is not None:
                found.setdefault(role, {})[path.stem] = dataset
    return found


def load_grid(budget: str, datasets: Mapping[str, Dataset], room: Path = ROOM) -> Grid:
    """Read the budget and every experiment. datasets: all there are, by name.

    Raises ConfigError naming the file, the key and what is allowed.
    """
    budgets = sorted(path.stem for path in (room / "budgets").glob("*.yaml"))
    if budget not in budgets:
        raise ConfigError(f"config: budget: '{budget}' is unknown; allowed: {', '.join(budgets)}")
    budget_file = room / "budgets" / f"{budget}.yaml"
    if not re.fullmatch("[A-Za-z0-9_-]+", budget):
        raise ConfigError(f"{budget_file}: a budget's name has letters, digits, _ and - alone")
    settings = load_yaml(budget_file, "budget")
    defaults = load_yaml(room / "defaults.yaml", "defaults")
    properties = generation_grid.properties("cell")
    settable = [name for name in properties if name not in IDENTITY]
    # Checked on their own first, so that a bad value is blamed on its file and not on a row.
    _check_defaults(defaults, str(room / "defaults.yaml"))
    anything = {**ANYTHING, **defaults["knobs"]}
    asked = {"knobs": settings["knobs"]}
    for role, knobs in settings.get("role_knobs", {}).items():
        asked[f"role_knobs.{role}"] = knobs
    for network, knobs in settings.get("network_knobs", {}).items():
        asked[f"network_knobs.{network}"] = {**defaults["networks"][network], **knobs}
    for key, knobs in asked.items():
        generation_grid.check_some(knobs, "cell", f"{budget_file}: {key}")
        of_network = defaults["networks"].get(knobs.get("network", ""), {})
        validate({**anything, **of_network, **knobs}, "cell", f"{budget_file}: {key}")
    generation = generation_grid.Settings(settings, defaults, budget_file)
    generation.check()
    for role, dataset in settings["roles"].items():
        if dataset is not None and dataset not in datasets:
            allowed = ", ".join(sorted(datasets))
            raise ConfigError(
                f"{budget_file}: roles.{role}: unknown dataset '{dataset}'; allowed: {allowed}"
            )

    tables: dict[str, Mapping[str, Any]] = {}
    rows: list[Row] = []
    cells: dict[str, Cell] = {}
    experiments = sorted((room / "experiments").glob("*.yaml"))
    without = settings.get("without", [])
    for key, named in (
        *((key, settings.get(key, [])) for key in ("table_seeds", "table_role_seeds", "without")),
        ("evaluation.table_protocols", settings["evaluation"].get("table_protocols", [])),
    ):
        refuse_unknown(named, [path.stem for path in experiments], f"{budget_file}: {key}")
    for path in experiments:
        _refuse_name(path)
        experiment = load_yaml(path, "experiment")
        _refuse_same_rows(experiment, settings.get("sweeps", {}), path)
        tables[path.stem] = experiment
        _refuse_twice(experiment["roles"], settings["roles"], f"{budget_file}: roles", path.stem)
        for role in experiment["roles"]:
            dataset = settings["roles"][role]
            if dataset is None or path.stem in without:
                continue
            seeds = _seeds(settings, path.stem, role)
            for label, wanted in _expand(experiment, settings.get("sweeps", {})):
                where = f"{path}: row '{label}'"
                if "method" not in wanted:
                    continue
                validate_some(
                    {"method": wanted["method"]},
                    "generation_cell" if experiment.get("stage") == 2 else "cell",
                    where,
                )
                if experiment.get("stage") == 2:
                    row = generation_grid.Wanted(
                        dataset,
                        datasets[dataset].channels,
                        datasets[dataset].classes,
                        role,
                        role in experiment.get("conditional", []),
                        wanted,
                        where,
                    )
                    found = list(generation_grid.cells(row, generation, seeds))
                else:
                    if role in experiment.get("networks", {}):
                        wanted = {**wanted, "network": experiment["networks"][role]}
                    if experiment.get("first_stages"):
                        wanted = {**wanted, **generation.first_stage(role, wanted["method"])}
                    refuse_unknown(wanted, [*settable, "method"], where)
                    validate_some(wanted, "cell", where)
                    start = base(wanted, datasets[dataset].channels, role, settings, defaults)
                    _refuse_not_taken(wanted, start, where)
                    identity = [{"dataset": dataset, "seed": seed} for seed in seeds]
                    lacking = defaults_of({**start, **wanted}, datasets[dataset].channels, defaults)
                    found = [
                        (resolve(who, start, wanted, properties, lacking),) for who in identity
                    ]
                    for (cell,) in found:
                        check(cell, where)
                for shown, *needed in found:
                    for cell in (*needed, shown):
                        check_size(cell, datasets[dataset].image_size, where)
                        if cells.setdefault(cell.id, cell) != cell:
                            raise ConfigError(
                                f"{budget_file}: role_knobs.{role}: cell '{cell.id}' is already "
                                "another run; a dataset that serves two roles needs equal settings"
                            )
                    rows.append(Row(path.stem, label, role, shown.id))
    conditional = {role for table in tables.values() for role in table.get("conditional", [])}
    conditional |= {row.role for row in rows if cells[row.cell].knobs.get("conditional")}
    generation.check_guided(sorted(conditional))
    return Grid(budget, settings, tables, tuple(rows), cells)


def _check_defaults(defaults: Mapping[str, Any], where: str) -> None:
    knobs, networks = defaults["knobs"], defaults["networks"]
    validate({**ANYTHING, **knobs}, "cell", f"{where}: knobs")
    groups = {"colour": defaults["colour"]}
    groups |= {f"methods.{name}": given for name, given in defaults["methods"].items()}
    groups |= {f"networks.{name}": given for name, given in networks.items()}
    for key, given in groups.items():
        generation_grid.check_some(given, "cell", f"{where}: {key}")
    for name, given in networks.items():
        filled = {**ANYTHING, **knobs, **given, "network": name}
        validate(filled, "cell", f"{where}: networks.{name}")
    generation = defaults["generation"]
    groups = {"knobs": generation["knobs"]}
    groups |= {f"methods.{name}": given for name, given in generation["methods"].items()}
    anything = {**ANYTHING, "method": "ddpm", "first_stage": None}
    for key, given in groups.items():
        generation_grid.check_some(given, "generation_cell", f"{where}: generation.{key}")
        filled = {**anything, **generation["knobs"], **given}
        validate(filled, "generation_cell", f"{where}: generation.{key}")
        for misfit in misfits(filled):
            raise ConfigError(f"{where}: generation.{key}: {misfit.said}")


def _refuse_not_taken(wanted: Mapping[str, Any], start: Mapping[str, Any], where: str) -> None:
    """A knob that the row's method does not take would change nothing. Raises ConfigError."""
    method, network = wanted["method"], wanted.get("network", start["network"])
    names = knobs_taken(method, network)
    for name in wanted:
        if name != "method" and name not in names:
            raise ConfigError(
                f"{where}: {name}: method '{method}' in network '{network}' does not take it; "
                f"allowed: {', '.join(sorted(names))}"
            )


def _seeds(settings: Mapping[str, Any], table: str, role: str) -> list[int]:
    of_table = settings.get("table_seeds", {}).get(table, settings["seeds"])
    return settings.get("table_role_seeds", {}).get(table, {}).get(role, of_table)


def _refuse_name(path: Path) -> None:
    if not re.fullmatch("[a-z0-9_]+", path.stem):
        raise ConfigError(f"{path}: a table's name has no other marks than a to z, 0 to 9 and _")


def _refuse_same_rows(
    experiment: Mapping[str, Any], sweeps: Mapping[str, list[int]], path: Path
) -> None:
    """Two rows of one label would pass for two seeds of one row."""
    labels = [label for label, _ in _expand(experiment, sweeps)]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"{path}: rows: there are two called '{label}'")


def _refuse_twice(
    wanted: list[str], datasets: Mapping[str, str | None], where: str, table: str
) -> None:
    """A dataset that stood for two roles of one table would have its rows twice."""
    seen: dict[str, str] = {}
    for role in wanted:
        dataset = datasets[role]
        if dataset is None:
            continue
        if dataset in seen:
            raise ConfigError(
                f"{where}: '{dataset}' is both {seen[dataset]} and {role}, which table "
                f"'{table}' shows beside each other"
            )
        seen[dataset] = role


def _expand(
    experiment: Mapping[str, Any], sweeps: Mapping[str, list[int]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of an experiment, each repeated for every value of its sweep, or of the budget's."""
    symbol = {"codebook_size": "K", "code_dim": "D"}
    for entry in experiment["rows"]:
        knobs = {key: value for key, value in entry.items() if key != "row"}
        if "sweep" not in experiment:
            yield entry["row"], knobs
            continue
        ((knob, values),) = experiment["sweep"].items()
        for value in sweeps.get(knob, values):
            yield f"{entry['row']}, {symbol[knob]} = {value}", {**knobs, knob: value}
