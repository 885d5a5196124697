"""Experiments, a budget and defaults, resolved into rows and cells. Pure but for reading YAML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from workflows.schema import ConfigError, load_yaml, validate

ROOM = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """One training run. id: `<dataset>/<method>/<variant>/seed<k>`. knobs: every knob's value."""

    id: str
    knobs: Mapping[str, Any]


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
        if cell_id in self.cells:
            return self.cells[cell_id]
        near = get_close_matches(cell_id, self.cells, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(
            f"budget {self.name}: no cell '{cell_id}'{hint} (make cells lists all of them)"
        )

    def tables_of(self, cell_id: str) -> list[str]:
        """The tables that show a cell, sorted."""
        return sorted({row.table for row in self.rows if row.cell == cell_id})

    def labels(self, table: str, every: bool = False) -> list[str]:
        """The rows of a table in order, whether or not this budget has a dataset for them.

        every: also those that the budget's shorter sweeps leave out.
        """
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


def budgets_by_role(room: Path = ROOM) -> dict[str, list[str]]:
    """Role -> the budgets that have a dataset for it, sorted. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    for path in sorted((room / "budgets").glob("*.yaml")):
        for role, dataset in load_yaml(path, "budget")["roles"].items():
            if dataset is not None:
                found.setdefault(role, []).append(path.stem)
    return found


def load_grid(budget: str, channels: Mapping[str, int], room: Path = ROOM) -> Grid:
    """Read the budget and every experiment. channels: dataset -> colour channels of its images.

    Raises ConfigError naming the file, the key and what is allowed.
    """
    budgets = sorted(path.stem for path in (room / "budgets").glob("*.yaml"))
    if budget not in budgets:
        raise ConfigError(f"config: budget: '{budget}' is unknown; allowed: {', '.join(budgets)}")
    budget_file = room / "budgets" / f"{budget}.yaml"
    settings = load_yaml(budget_file, "budget")
    defaults = load_yaml(room / "defaults.yaml", "defaults")
    properties = load_yaml(room / "schemas" / "cell.schema.yaml", None)["properties"]
    # Checked on their own first, so that a bad value is blamed on the budget and not on a row.
    anything = {"dataset": "any", "method": "cvq_vae", "seed": 0, **defaults["knobs"]}
    asked = {"knobs": settings["knobs"]}
    for role, knobs in settings.get("role_knobs", {}).items():
        asked[f"role_knobs.{role}"] = knobs
    for key, knobs in asked.items():
        _refuse_unknown(knobs, properties, f"{budget_file}: {key}")
        validate({**anything, **knobs}, "cell", f"{budget_file}: {key}")
    for role, dataset in settings["roles"].items():
        if dataset is not None and dataset not in channels:
            allowed = ", ".join(sorted(channels))
            raise ConfigError(
                f"{budget_file}: roles.{role}: unknown dataset '{dataset}'; allowed: {allowed}"
            )

    tables: dict[str, Mapping[str, Any]] = {}
    rows: list[Row] = []
    cells: dict[str, Cell] = {}
    experiments = sorted((room / "experiments").glob("*.yaml"))
    table_seeds, without = settings.get("table_seeds", {}), settings.get("without", [])
    for key, named in (("table_seeds", table_seeds), ("without", without)):
        _refuse_unknown(named, [path.stem for path in experiments], f"{budget_file}: {key}")
    for path in experiments:
        experiment = load_yaml(path, "experiment")
        tables[path.stem] = experiment
        for role in experiment["roles"]:
            dataset = settings["roles"][role]
            if dataset is None or path.stem in without:
                continue
            for label, wanted in _expand(experiment, settings.get("sweeps", {})):
                where = f"{path}: row '{label}'"
                _refuse_unknown(wanted, properties, where)
                base = _base(wanted["method"], channels[dataset], role, settings, defaults)
                for seed in table_seeds.get(path.stem, settings["seeds"]):
                    cell = _resolve({"dataset": dataset, "seed": seed}, base, wanted, properties)
                    validate(dict(cell.knobs), "cell", where)
                    if cells.setdefault(cell.id, cell) != cell:
                        raise ConfigError(
                            f"{budget_file}: role_knobs.{role}: cell '{cell.id}' is already "
                            "another run; a dataset that serves two roles needs equal settings"
                        )
                    rows.append(Row(path.stem, label, role, cell.id))
    return Grid(budget, settings, tables, tuple(rows), cells)


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


def _base(
    method: str,
    channels: int,
    role: str,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """What a row starts from: the defaults, those of its method, the budget's, its role's."""
    return {
        **defaults["knobs"],
        **(defaults["colour"] if channels == 3 else {}),
        **defaults["methods"].get(method, {}),
        **settings["knobs"],
        **settings.get("role_knobs", {}).get(role, {}),
    }


def _resolve(
    identity: Mapping[str, Any],
    base: Mapping[str, Any],
    wanted: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> Cell:
    """The cell of a row. identity: dataset and seed. The id names the knobs that differ."""
    knobs = {**identity, **base, **wanted}
    different = [
        schema["x-slug"].format(knobs[name])
        for name, schema in properties.items()
        if "x-slug" in schema and name in knobs and knobs[name] != base.get(name)
    ]
    variant = "-".join(different) or "default"
    method, dataset, seed = knobs["method"], knobs["dataset"], knobs["seed"]
    return Cell(f"{dataset}/{method}/{variant}/seed{seed}", knobs)


def _refuse_unknown(knobs: Iterable[str], allowed: Collection[str], where: str) -> None:
    for key in knobs:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(f"{where}: unknown key '{key}'; {hint}allowed: {', '.join(allowed)}")
