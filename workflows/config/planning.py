"""Writes a budget's plan: what its tables show, and the cells behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from workflows.config.datasets import ROOM, Dataset, read_protocol
from workflows.config.experiments import HEADLINES, Claims, Figures, Standing
from workflows.config.grid import Cell, Grid, read_budgets
from workflows.config.names import ROLES
from workflows.config.plan import (
    Absent,
    Plan,
    PlannedCell,
    PlannedClaim,
    PlannedDataset,
    PlannedEvaluation,
    PlannedTable,
)
from workflows.config.reading import read_yaml, yaml_files
from workflows.config.settings import Budget
from workflows.errors import ConfigError, known, nearest
from workflows.generators import GENERATORS
from workflows.knobs import Generative
from workflows.metrics import FEWEST_PIXELS, OF_CODES, OF_LATENTS, OF_RECONSTRUCTIONS, OF_SAMPLES
from workflows.registry import training_versions


def make_plan(
    grid: Grid,
    datasets: Mapping[str, Dataset],
    missing: Mapping[str, str],
    results: str = "results",
    room: Path = ROOM,
) -> Plan:
    """The plan of a grid.

    datasets: all there are, by name. missing: dataset -> what to do, for those that this machine
    has not got. results: the folder of all budgets' results. Raises ConfigError for anything wrong
    in figures.yaml and claims.
    """
    budget, budgets = grid.budget, read_budgets(room)
    folder = f"{results}/{grid.name}"
    figures = read_yaml(room / "figures.yaml", Figures).root
    return Plan(
        budget=grid.name,
        title=budget.title,
        results=folder,
        cells={
            name: _cell(grid, cell, datasets, missing, f"{folder}/cells/{name}")
            for name, cell in grid.cells.items()
        },
        rows=list(grid.rows),
        tables={name: _table(grid, name) for name in grid.tables},
        datasets={
            name: _dataset(datasets[name])
            for name in sorted({cell.dataset for cell in grid.cells.values()})
        },
        figures={name: one for name, one in figures.items() if one.table in grid.tables},
        roles={role: name or ROLES[role].paper for role, name in budget.roles.items()},
        claims=read_claims(grid, room),
        absent=list(_absent(grid, budgets)),
        reference_images=budget.generation.reference_images,
        progress_samples=budget.generation.progress_samples,
    )


def _dataset(dataset: Dataset) -> PlannedDataset:
    return PlannedDataset(
        title=dataset.title,
        stand_in_for=dataset.stand_in_for,
        images=dataset.trained,
        too_small_for={m: n for m, n in FEWEST_PIXELS.items() if dataset.image_size < n},
    )


def _cell(
    grid: Grid, cell: Cell, datasets: Mapping[str, Dataset], missing: Mapping[str, str], folder: str
) -> PlannedCell:
    fields = type(cell.knobs).model_fields
    # A knob that came later than a record has its default.
    defaults = {name: about.default for name, about in fields.items() if not about.is_required()}
    defaults |= {name: value for name, value in cell.defaults.items() if name in fields}
    images = datasets[cell.dataset].trained
    return PlannedCell(
        folder=folder,
        knobs=cell.knobs,
        defaults=defaults,
        missing=missing.get(cell.dataset),
        versions=training_versions(cell.knobs),
        # Never those for validation, whatever the array holds.
        images=min(cell.knobs.train_images or images, images),
        # Where its codevectors are points of the plane.
        filmed=getattr(cell.knobs, "code_dim", None) == 2
        and hasattr(cell.knobs, "codebook_size")
        and cell.first_stage is None,
        evaluation=_evaluation(grid, cell, images),
    )


def _evaluation(grid: Grid, cell: Cell, images: int) -> PlannedEvaluation:
    settings, generation = grid.budget.evaluation, grid.budget.generation
    names, metrics = grid.protocols(cell.id), grid.metrics(cell.id)
    protocols = {name: read_protocol(name).version for name in names}
    if not isinstance(cell.knobs, Generative):
        measured = OF_RECONSTRUCTIONS
        if metrics is not None:
            measured = {name: (OF_RECONSTRUCTIONS | OF_LATENTS)[name] for name in metrics}
        return PlannedEvaluation(
            protocols=names,
            versions=measured | protocols,
            metrics=metrics,
            fid_images=settings.fid_images or 0,
            lpips_images=settings.lpips_images or 0,
        )
    method = GENERATORS[cell.knobs.method]
    bits = OF_CODES if method.likelihood else {}
    return PlannedEvaluation(
        protocols=names,
        versions=OF_SAMPLES | bits | protocols,
        reference_images=min(generation.reference_images or images, images),
        progress_samples=generation.progress_samples,
        sampling=cell.knobs.model_dump(include={*cell.knobs.SAMPLING}),
        sampling_versions={"sampling": method.sampling} | bits,
    )


def _table(grid: Grid, name: str) -> PlannedTable:
    experiment = grid.tables[name]
    return PlannedTable(
        title=experiment.title,
        caption=experiment.caption,
        metrics=experiment.metrics,
        stage=experiment.stage,
        protocols=grid.protocols_of(name),
        order=grid.labels(name),
        # CIFAR10 is no stand-in, but among what is generated it stands in for ImageNet.
        stands_for={
            dataset: ROLES[role].paper
            for role in experiment.roles
            if (dataset := grid.budget.roles[role]) is not None and not ROLES[role].own
        },
        # Other budgets may have longer sweeps.
        published_rows=list(dict.fromkeys([*grid.labels(name, every=True), *grid.labels(name)])),
    )


def _absent(grid: Grid, budgets: Mapping[str, Budget]) -> Iterator[Absent]:
    for table, experiment in grid.tables.items():
        for role in experiment.roles:
            if table in grid.budget.without:
                have = [name for name, budget in budgets.items() if table not in budget.without]
            elif grid.budget.roles[role] is None:
                have = [name for name, budget in budgets.items() if budget.roles[role]]
            else:
                continue
            note = f"not at this budget; budgets that have it: {', '.join(have) or 'none'}"
            yield Absent(table=table, dataset=ROLES[role].paper, rows=grid.labels(table), note=note)


def read_claims(grid: Grid, room: Path = ROOM) -> list[PlannedClaim]:
    """Every claim, headlines first and what the paper does not say last.

    Raises ConfigError for a claim twice and for an unknown table, row, role or metric of a claim.
    """
    found: dict[str, PlannedClaim] = {}
    for path in yaml_files(room / "claims").values():
        content = read_yaml(path, Claims)
        experiment = grid.tables[known(content.table, grid.tables, f"{path}: table:")]
        for claim in content.claims:
            where = f"{path}: claim '{claim.id}'"
            if claim.id in found:
                raise ConfigError(f"{where}: there are two of that id")
            for key in ("roles", "metrics"):
                for name in getattr(claim, key):
                    known(name, getattr(experiment, key), f"{where}: {key}:")
            rows = {}
            for key in ("of", "than"):
                rows[key] = _rows(getattr(claim, key), grid, content.table, f"{where}: {key}")
                # A sweep's name stands for many rows, of which a comparison would take the first.
                if claim.kind in HEADLINES and len(rows[key]) > 1:
                    count = len(rows[key])
                    raise ConfigError(
                        f"{where}: {key}: {count} rows have that name, {claim.kind} needs one"
                    )
            if claim.kind in ("rises", "does_not_rise") and rows["of"] == claim.of:
                raise ConfigError(
                    f"{where}: of: '{claim.of[0]}' is no row of a sweep; {claim.kind} needs one"
                )
            found[claim.id] = PlannedClaim(about=claim, table=content.table, **rows)
    standings = get_args(Standing)
    return sorted(
        found.values(),
        key=lambda one: (not one.about.headline, standings.index(one.about.standing)),
    )


def _rows(names: list[str], grid: Grid, table: str, where: str) -> list[str]:
    """Rows of this budget: "CVQ-VAE" stands for "CVQ-VAE, K = 32" and its like."""
    labels, every = grid.labels(table), grid.labels(table, every=True)
    found = []
    for name in names:
        series = [row for row in labels if row.startswith(f"{name}, ")]
        # A row that this budget leaves out stays: the claim is then not tested.
        rows = [name] if name in (*labels, *every) else series
        if not rows:
            raise ConfigError(f"{where}: row '{name}' is unknown; {nearest(name, every)}")
        found += rows
    return found
