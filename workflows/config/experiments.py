"""The types of experiments, figures and claims, as people write them in YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel, model_validator

from workflows.config.names import (
    DIFFERENT,
    ROLES,
    STAGE_METRICS,
    Distinct,
    Line,
    MetricName,
    Name,
    RoleName,
)
from workflows.config.settings import Knobs, MethodName, NetworkName, Sweeps
from workflows.errors import nearest
from workflows.generators import GENERATORS
from workflows.knobs import IDENTITY, Closed, Continuous
from workflows.registry import METHODS

SYMBOLS = {"codebook_size": "K", "code_dim": "D", "length": "length"}


class ExperimentRow(Closed):
    """A row of a table: its label, its method, and the knobs that differ from the defaults.

    method: None for a row that has published numbers only. first_stage: the method of the
    autoencoder below a generative model. first_stage_knobs: the knobs of this autoencoder that
    differ from the budget's. seeds: use at most this many of the budget's seeds.
    """

    model_config = ConfigDict(extra="allow")

    row: Annotated[Line, Field(max_length=80)]
    method: str | None = None
    first_stage: MethodName | None = None
    first_stage_knobs: Knobs = {}
    seeds: Annotated[int, Field(ge=1)] | None = None

    @property
    def knobs(self) -> dict[str, Any]:
        """The knobs that the row sets."""
        return dict(self.model_extra or {})


class Beside(Closed):
    """What the rows of one value of a sweep set in addition."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    seeds: Annotated[int, Field(ge=1)] | None = None


class Experiment(Closed):
    """experiments/<table>.yaml: one table of the paper, or the sweep behind a plot.

    stage: rows are autoencoders (1) or generative models (2). first_stages: rows are autoencoders
    with the budget's settings for first stages. sweep: repeat every row for each value of one knob.
    at: value of the sweep -> what its rows set in addition. network: of all rows. conditional:
    roles whose generative models know classes.
    """

    title: Annotated[Line, Field(max_length=120)]
    caption: Line
    roles: Distinct[RoleName]
    metrics: Distinct[MetricName]
    stage: Literal[1, 2] = 1
    sweep: Annotated[Sweeps, Field(min_length=1, max_length=1)] | None = None
    at: dict[int, Beside] = {}
    first_stages: bool = False
    network: NetworkName | None = None
    conditional: list[RoleName] = []
    rows: Annotated[list[ExperimentRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        problems = list(self._problems())
        for row in self.rows:
            problems += [f"row '{row.row}': {problem}" for problem in self._problems_of(row)]
        if problems:
            raise ValueError("; and ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        allowed = STAGE_METRICS[self.stage]
        for name in self.metrics:
            if name not in allowed:
                yield (
                    f"metrics: {name} is not measured at stage {self.stage}; allowed: "
                    f"{', '.join(allowed)}"
                )
        if self.stage == 1 and self.conditional:
            yield "conditional: goes with stage 2"
        if self.stage == 2:
            generated = [name for name, role in ROLES.items() if role.generated]
            for role in self.roles:
                if role not in generated:
                    yield f"roles: {role} is not generated; allowed: {', '.join(generated)}"
            for key in ("sweep", "first_stages", "network"):
                if getattr(self, key):
                    yield f"{key}: does not go with stage 2"
        if "error" in self.metrics and self.network != "frozen":
            yield "metrics: error is measured only on frozen latents"
        swept = [value for values in (self.sweep or {}).values() for value in values]
        for value in {*self.at} - {*swept}:
            yield f"at: {value} is no value of the sweep"
        for label, count in Counter(row.row for row in self.rows).items():
            if count > 1:
                yield f"rows: there are two called '{label}'"

    def _problems_of(self, row: ExperimentRow) -> Iterator[str]:
        methods: Mapping[str, Any] = METHODS if self.stage == 1 else GENERATORS
        if row.method is None:
            if self.stage == 1:
                yield "method: the key is missing"
            elif row.knobs or row.first_stage or row.first_stage_knobs:
                yield "a row without a method takes no other keys"
            return
        for name in row.knobs.keys() & {*IDENTITY}:
            yield f"{name}: a row cannot set it; allowed: the knobs of its method and network"
        if row.method not in methods:
            yield f"method: '{row.method}' is unknown; {nearest(row.method, methods)}"
            return
        needs_first_stage = self.stage == 2 and GENERATORS[row.method].has_first_stage
        if needs_first_stage != (row.first_stage is not None):
            needs = "needs one" if needs_first_stage else "takes none"
            yield f"first_stage: method '{row.method}' {needs}"
        elif needs_first_stage and row.first_stage not in (fitting := _first_stages(row.method)):
            yield (
                f"first_stage: method '{row.method}' cannot model '{row.first_stage}'; allowed: "
                f"{', '.join(fitting)}"
            )
        if row.first_stage_knobs and not needs_first_stage:
            yield f"first_stage_knobs: method '{row.method}' has no first stage"

    def expanded(self, sweeps: Sweeps) -> Iterator[tuple[str, ExperimentRow]]:
        """Yield every row with its label, repeated for each value of the sweep.

        sweeps: values that replace the experiment's own.
        """
        if self.sweep is None:
            yield from ((row.row, row) for row in self.rows)
            return
        ((knob, values),) = self.sweep.items()
        for row, value in product(self.rows, sweeps.get(knob, values)):
            beside = self.at[value].model_dump(exclude_unset=True) if value in self.at else {}
            label = f"{row.row}, {SYMBOLS[knob]} = {value}"
            yield label, row.model_copy(update={knob: value, **beside})


def _first_stages(generator: str) -> list[str]:
    """Return the methods of first stages that a generative model can model."""
    kind = GENERATORS[generator]
    methods = [name for name in METHODS if kind.fits(name)]
    if kind.points == "codes":
        return [name for name in methods if not issubclass(METHODS[name].knobs, Continuous)]
    return methods


class MoreRows(Closed):
    """A user's file that adds rows to a table of the repository."""

    rows: list[dict[str, Any]]


class Figure(Closed):
    """A figure of figures.yaml.

    table: the table whose runs the figure draws; None if it draws the runs of all tables, and only
    the site shows it. more: files beside the SVG, the PNG and the CSV.
    """

    table: Name | None = None
    title: Line
    caption: str
    more: list[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.gif$")]] = []


class Figures(RootModel[dict[Name, Figure]]):
    """figures.yaml."""


# The kinds of claims that compare a single pair of rows, or judge a single row.
HEADLINES = ("better", "at_least", "at_most")
Kind = Literal["better", "at_least", "at_most", "steadier", "rises", "does_not_rise"]
Standing = Literal["stated", "inferred", "control", "others"]


class Claim(Closed):
    """A claim about the rows of a table.

    standing: who makes the claim. stated: the paper or its poster. inferred: we, from what the
    paper's tables compare, because we could not read the claim itself. control: this project.
    others: other publications. headline: show the claim first everywhere. kind: see
    `workflows.records.verdicts.effects`. of, than: labels of rows; of a sweep, the label without
    the value. value: the bound of `at_least` and `at_most`; usage is a fraction.
    """

    id: Name
    claim: Line
    standing: Standing
    source: Line
    caveat: Line | None = None
    headline: bool = False
    roles: Distinct[RoleName]
    metrics: Distinct[MetricName]
    kind: Kind
    of: Distinct[Line]
    than: Annotated[list[Line], DIFFERENT] = []
    value: float | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Claim:
        compares, bounded = self.kind in ("better", "steadier"), self.kind.startswith("at_")
        for is_wrong, problem in (
            (compares and not self.than, "than: kind '{}' needs rows"),
            (self.than and not compares, "than: kind '{}' takes no rows"),
            (bounded and self.value is None, "value: kind '{}' needs one"),
            (not bounded and self.value is not None, "value: kind '{}' takes none"),
            (self.kind != "steadier" and len(self.of) > 1, "of: kind '{}' takes one row"),
            (self.kind == "better" and len(self.than) > 1, "than: kind '{}' takes one row"),
            (self.headline and self.kind not in HEADLINES, "headline: does not go with kind '{}'"),
        ):
            if is_wrong:
                raise ValueError(problem.format(self.kind))
        return self


class Claims(Closed):
    """claims/<table>.yaml: what publications claim about a table."""

    table: Name
    claims: Annotated[list[Claim], Field(min_length=1)]
