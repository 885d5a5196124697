"""Make the plan of a budget from its grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from workflows.config.datasets import ROOM, Dataset, read_protocol
from workflows.config.experiments import HEADLINES, Claims, Figures, Standing
from workflows.config.grid import Grid, read_budgets
from workflows.config.names import ROLES, RUN_METRICS
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
    """Return the plan of a grid.

    datasets: all datasets by name. missing: dataset -> what to do, for the datasets that this
    machine lacks. results: the folder of all budgets' results. room: the folder of the
    configuration. Raises ConfigError for anything wrong in figures.yaml and claims.
    """
    budget, folder = grid.budget, f"{results}/{grid.name}"
    figures = read_yaml(room / "figures.yaml", Figures).root
    drawable = {None, *(row.table for row in grid.rows)}
    return Plan(
        budget=grid.name,
        title=budget.title,
        results=folder,
        cells={
            cell_id: _cell(grid, cell_id, datasets[knobs.dataset], missing, folder)
            for cell_id, knobs in grid.cells.items()
        },
        rows=list(grid.rows),
        tables={name: _table(grid, name) for name in grid.tables},
        datasets={
            name: PlannedDataset(
                title=datasets[name].title,
                stand_in_for=datasets[name].stand_in_for,
                images=datasets[name].trained,
                too_small_for={
                    metric: pixels
                    for metric, pixels in FEWEST_PIXELS.items()
                    if datasets[name].image_size < pixels
                },
            )
            for name in sorted(datasets)
        },
        figures={name: figure for name, figure in figures.items() if figure.table in drawable},
        roles={role: name or ROLES[role].paper for role, name in budget.roles.items()},
        claims=read_claims(grid, room),
        absent=list(_absent(grid, read_budgets(room))),
        reference_images=budget.generation.reference_images,
        progress_samples=budget.generation.progress_samples,
    )


def _cell(
    grid: Grid, cell_id: str, dataset: Dataset, missing: Mapping[str, str], folder: str
) -> PlannedCell:
    knobs = grid.cells[cell_id]
    fields = type(knobs).model_fields
    defaults = {name: field.default for name, field in fields.items() if not field.is_required()}
    defaults_in_yaml = grid.defaults.of_cell(knobs, dataset.channels)
    defaults |= {name: value for name, value in defaults_in_yaml.items() if name in fields}
    return PlannedCell(
        folder=f"{folder}/cells/{cell_id}",
        knobs=knobs,
        defaults=defaults,
        missing=missing.get(dataset.name),
        versions=training_versions(knobs),
        # The prepared array also has the images for validation, which come last.
        images=min(knobs.train_images or dataset.trained, dataset.trained),
        # The film shows codevectors as points of the plane.
        filmed=getattr(knobs, "code_dim", None) == 2
        and hasattr(knobs, "codebook_size")
        and not hasattr(knobs, "first_stage"),
        evaluation=_evaluation(grid, cell_id, dataset.trained),
    )


def _evaluation(grid: Grid, cell_id: str, images: int) -> PlannedEvaluation:
    settings, generation = grid.budget.evaluation, grid.budget.generation
    knobs = grid.cells[cell_id]
    tables = {row.table for row in grid.rows if row.cell == cell_id}
    # A first stage that no table shows is measured in the budget's protocols.
    names = sorted({n for table in tables for n in grid.protocols_of(table)} or settings.protocols)
    protocols = {name: read_protocol(name).version for name in names}
    if not isinstance(knobs, Generative):
        metrics, measured = None, OF_RECONSTRUCTIONS
        if knobs.network == "frozen":
            shown = {name for table in tables for name in grid.tables[table].metrics}
            metrics = sorted(shown - {*RUN_METRICS})
            measured = {name: (OF_RECONSTRUCTIONS | OF_LATENTS)[name] for name in metrics}
        return PlannedEvaluation(
            protocols=names,
            versions=measured | protocols,
            metrics=metrics,
            fid_images=settings.fid_images or 0,
            lpips_images=settings.lpips_images or 0,
        )
    method = GENERATORS[knobs.method]
    bits = OF_CODES if method.likelihood else {}
    return PlannedEvaluation(
        protocols=names,
        versions=OF_SAMPLES | bits | protocols,
        reference_images=min(generation.reference_images or images, images),
        progress_samples=generation.progress_samples,
        sampling=knobs.model_dump(include={*knobs.SAMPLING}),
        sampling_versions={"sampling": method.sampling} | bits,
    )


def _table(grid: Grid, name: str) -> PlannedTable:
    experiment, labels = grid.tables[name], grid.labels(name)
    datasets = {role: grid.budget.roles[role] for role in experiment.roles}
    return PlannedTable(
        title=experiment.title,
        caption=experiment.caption,
        metrics=experiment.metrics,
        stage=experiment.stage,
        protocols=grid.protocols_of(name),
        order=labels,
        stands_for={
            dataset: ROLES[role].paper
            for role, dataset in datasets.items()
            if dataset is not None and not ROLES[role].by_file
        },
        # Other budgets may have longer sweeps.
        published_rows=list(dict.fromkeys([*grid.labels(name, every=True), *labels])),
    )


def _absent(grid: Grid, budgets: Mapping[str, Budget]) -> Iterator[Absent]:
    for table, experiment in grid.tables.items():
        for role in experiment.roles:
            if table in grid.budget.without:
                names = [name for name, budget in budgets.items() if table not in budget.without]
            elif grid.budget.roles[role] is None:
                names = [name for name, budget in budgets.items() if budget.roles[role]]
            else:
                continue
            note = f"not at this budget; budgets that have it: {', '.join(names) or 'none'}"
            yield Absent(table=table, dataset=ROLES[role].paper, rows=grid.labels(table), note=note)


def read_claims(grid: Grid, room: Path = ROOM) -> list[PlannedClaim]:
    """Return every claim: headlines first, then by who makes the claim.

    Raises ConfigError for two claims of one id, and for an unknown table, row, role or metric.
    """
    claims: dict[str, PlannedClaim] = {}
    for path in yaml_files(room / "claims").values():
        content = read_yaml(path, Claims)
        experiment = grid.tables[known(content.table, grid.tables, f"{path}: table:")]
        for claim in content.claims:
            where = f"{path}: claim '{claim.id}'"
            if claim.id in claims:
                raise ConfigError(f"{where}: two claims have this id")
            for key in ("roles", "metrics"):
                for name in getattr(claim, key):
                    known(name, getattr(experiment, key), f"{where}: {key}:")
            rows = {
                key: _rows(getattr(claim, key), grid, content.table, f"{where}: {key}")
                for key in ("of", "than")
            }
            for key, labels in rows.items():
                if claim.kind in HEADLINES and len(labels) > 1:
                    raise ConfigError(
                        f"{where}: {key}: {len(labels)} rows have this name, {claim.kind} needs one"
                    )
            if claim.kind in ("rises", "does_not_rise") and rows["of"] == claim.of:
                problem = f"'{claim.of[0]}' is not the name of a sweep, which {claim.kind} needs"
                raise ConfigError(f"{where}: of: {problem}")
            claims[claim.id] = PlannedClaim(about=claim, table=content.table, **rows)
    standings = get_args(Standing)

    def rank(claim: PlannedClaim) -> tuple[bool, int]:
        return not claim.about.headline, standings.index(claim.about.standing)

    return sorted(claims.values(), key=rank)


def _rows(names: list[str], grid: Grid, table: str, where: str) -> list[str]:
    """Return the labels of the rows that a claim names.

    The name of a row before its sweep, such as "CVQ-VAE", stands for all values of this budget,
    such as "CVQ-VAE, K = 32". The label of a row that this budget leaves out stays as it is; the
    claim is then not tested.
    """
    labels, all_labels = grid.labels(table), grid.labels(table, every=True)
    rows = []
    for name in names:
        if name in (*labels, *all_labels):
            rows.append(name)
            continue
        series = [label for label in labels if label.startswith(f"{name}, ")]
        if not series:
            raise ConfigError(f"{where}: row '{name}' is unknown; {nearest(name, all_labels)}")
        rows += series
    return rows
