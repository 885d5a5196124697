"""Tables, figures and claims, as people write them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from workflows.config.names import (
    DIFFERENT,
    RECONSTRUCTION_METRICS,
    ROLES,
    SAMPLE_METRICS,
    Line,
    MetricName,
    Name,
    RoleName,
)
from workflows.config.settings import (
    AUTOENCODER,
    DIFFUSION,
    MethodName,
    NetworkName,
    check_knobs,
)
from workflows.errors import nearest
from workflows.knobs import Closed

SYMBOLS = {"codebook_size": "K", "code_dim": "D"}


class ExperimentRow(Closed):
    """One line of a table: its label, a method and the knobs that differ from the defaults.

    A row without a method has published numbers alone. first_stage: the method of the autoencoder
    whose latents a diffusion model diffuses.
    """

    model_config = ConfigDict(extra="allow")

    row: Annotated[Line, Field(max_length=80)]
    method: str | None = None
    first_stage: MethodName | None = None

    @property
    def knobs(self) -> dict[str, Any]:
        """The knobs that the row sets."""
        return dict(self.model_extra or {})


class Sweep(Closed):
    """Every row is repeated for each value of one knob."""

    codebook_size: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] | None = None
    code_dim: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Sweep:
        if (self.codebook_size is None) == (self.code_dim is None):
            raise ValueError("one of codebook_size and code_dim must be swept")
        return self

    @property
    def knob(self) -> str:
        """The name of the knob that is swept."""
        return "code_dim" if self.codebook_size is None else "codebook_size"


class Experiment(Closed):
    """experiments/<table>.yaml: one table of the paper, or the sweep behind a plot.

    stage: 1, rows are autoencoders; 2, rows are diffusion models. first_stages: rows are
    autoencoders with the budget's settings for first stages. networks: role -> network, where that
    is not the small one. conditional: roles whose models are asked for a class.
    """

    title: Annotated[Line, Field(max_length=120)]
    caption: Line
    roles: Annotated[list[RoleName], Field(min_length=1), DIFFERENT]
    metrics: Annotated[list[MetricName], Field(min_length=1), DIFFERENT]
    stage: Literal[1, 2] = 1
    sweep: Sweep | None = None
    first_stages: bool = False
    networks: dict[RoleName, NetworkName] = {}
    conditional: list[RoleName] = []
    rows: Annotated[list[ExperimentRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _of_one_stage(self) -> Experiment:
        wrong = []
        metrics = RECONSTRUCTION_METRICS if self.stage == 1 else SAMPLE_METRICS
        wrong += [
            f"metrics: {name} is not measured at stage {self.stage}; allowed: {', '.join(metrics)}"
            for name in self.metrics
            if name not in metrics
        ]
        if self.stage == 2:
            generated = [role for role, about in ROLES.items() if about.generated]
            wrong += [
                f"roles: {role} is not generated; allowed: {', '.join(generated)}"
                for role in self.roles
                if role not in generated
            ]
            named = [key for key in ("sweep", "first_stages", "networks") if getattr(self, key)]
            wrong += [f"{key}: does not go with stage 2" for key in named]
        elif self.conditional:
            wrong.append("conditional: goes with stage 2")
        labels = [row.row for row in self.rows]
        wrong += [
            f"rows: there are two called '{label}'"
            for label in dict.fromkeys(labels)
            if labels.count(label) > 1
        ]
        for row in self.rows:
            wrong += [f"row '{row.row}': {problem}" for problem in self._problems(row)]
        if wrong:
            raise ValueError("; and ".join(wrong))
        return self

    def _problems(self, row: ExperimentRow) -> Iterator[str]:
        from workflows.registry import DIFFUSIONS, METHODS

        methods = METHODS if self.stage == 1 else DIFFUSIONS
        if row.method is None:
            if self.stage == 1:
                yield "method: the key is missing"
            elif row.knobs or row.first_stage:
                yield "a row of published numbers alone has no other keys"
            return
        if row.method not in methods:
            yield f"method: '{row.method}' is unknown; {nearest(row.method, list(methods))}"
            return
        latent = self.stage == 2 and DIFFUSIONS[row.method].latent
        if latent != (row.first_stage is not None):
            yield f"first_stage: method '{row.method}' {'needs one' if latent else 'takes none'}"
        try:
            check_knobs(row.knobs, AUTOENCODER if self.stage == 1 else DIFFUSION)
        except ValueError as error:
            yield str(error)

    def expanded(self, values: list[int] | None = None) -> Iterator[tuple[str, ExperimentRow]]:
        """Every row with its label, repeated for each value of the sweep.

        values: in place of the experiment's own.
        """
        for row in self.rows:
            if self.sweep is None:
                yield row.row, row
                continue
            knob = self.sweep.knob
            for value in values or getattr(self.sweep, knob):
                label = f"{row.row}, {SYMBOLS[knob]} = {value}"
                yield label, row.model_copy(update={knob: value})


class Figure(Closed):
    """An entry of figures.yaml. table: whose runs the figure draws. data: which of the table's
    collected files. more: files beside the SVG and the PNG.
    """

    table: Name
    title: Line
    caption: str
    data: Annotated[list[Literal["measured", "curves", "codes"]], Field(min_length=1), DIFFERENT]
    more: list[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.gif$")]] = []


class Figures(Closed):
    """figures.yaml."""

    figures: dict[Name, Figure]

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, content: Any) -> Any:
        return {"figures": content}


Kind = Literal["better", "at_least", "at_most", "steadier", "rises", "does_not_rise"]


class Claim(Closed):
    """A claim about the rows of one table.

    standing: who says it. stated: the paper or its poster. inferred: nobody where we could read it;
    we take the paper's tables to say so. control: this project. others: other publications.
    headline: shown first everywhere. kind: see `workflows.records.verdicts.effects`. of, than:
    rows; of a sweep, the row before its values. value: what `at_least` and `at_most` compare with;
    usage is a fraction.
    """

    id: Name
    claim: Line
    standing: Literal["stated", "inferred", "control", "others"]
    source: Line
    caveat: Line | None = None
    headline: bool = False
    roles: Annotated[list[RoleName], Field(min_length=1), DIFFERENT]
    metrics: Annotated[list[MetricName], Field(min_length=1), DIFFERENT]
    kind: Kind
    of: Annotated[list[Line], Field(min_length=1), DIFFERENT]
    than: Annotated[list[Line], DIFFERENT] = []
    value: float | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Claim:
        compares, bounded = self.kind in ("better", "steadier"), self.kind.startswith("at_")
        if compares != bool(self.than):
            raise ValueError(f"than: kind '{self.kind}' {'needs' if compares else 'takes no'} rows")
        if bounded != (self.value is not None):
            raise ValueError(
                f"value: kind '{self.kind}' {'needs one' if bounded else 'takes none'}"
            )
        if self.kind != "steadier" and len(self.of) > 1:
            raise ValueError(f"of: kind '{self.kind}' takes one row")
        if self.kind == "better" and len(self.than) > 1:
            raise ValueError("than: kind 'better' takes one row")
        if self.headline and self.kind not in ("better", "at_least", "at_most"):
            raise ValueError(f"headline: does not go with kind '{self.kind}'")
        return self


class Claims(Closed):
    """claims/<table>.yaml: the claims of publications about one table."""

    title: Line
    table: Name
    claims: Annotated[list[Claim], Field(min_length=1)]
