"""The types of defaults.yaml, of a budget and of `--config`.

A value is checked in the file that holds it, so that a message names this file and not the row of a
table that uses the value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    create_model,
    model_validator,
)

from workflows.config.names import ROLES, Distinct, Line, Protocol, RoleName, one_of
from workflows.generators import GENERATORS
from workflows.knobs import IDENTITY, Closed, Generative, Training
from workflows.metrics import FEWEST_IMAGES
from workflows.registry import METHODS, NETWORKS, knobs_type

MethodName = Annotated[str, one_of(METHODS, "method")]
GeneratorName = Annotated[str, one_of(GENERATORS, "method")]
NetworkName = Annotated[str, one_of(NETWORKS, "network")]
Seeds = Distinct[Annotated[int, Field(ge=0, le=1_000_000)]]


def _some_of(name: str, kinds: Iterable[type[Closed]]) -> GetPydanticSchema:
    """Return the schema of a mapping that may have any knob of these types, checked as there."""
    fields: dict[str, Any] = {}
    for kind in kinds:
        for knob, field in kind.model_fields.items():
            if knob not in IDENTITY:
                # If two types differ in a knob, the first counts. So a plug-in, which comes last,
                # cannot change the knobs of other methods.
                checked: Any = Annotated[field.annotation, Field(), *field.metadata]
                fields.setdefault(knob, (checked, None))
    model = create_model(name, __base__=Closed, **fields)
    to_mapping = AfterValidator(lambda knobs: knobs.model_dump(exclude_unset=True))
    return GetPydanticSchema(lambda _, handler: handler(Annotated[model, to_mapping]))


_AUTOENCODERS = [knobs_type(name, net) for name, about in METHODS.items() for net in about.networks]
Knobs = Annotated[dict[str, Any], _some_of("Autoencoder", _AUTOENCODERS)]
_GENERATORS = [generator.knobs for generator in GENERATORS.values()]
GeneratorKnobs = Annotated[dict[str, Any], _some_of("Generator", _GENERATORS)]


class GenerationDefaults(Closed):
    """The defaults of generative models, and where a method differs from them."""

    knobs: GeneratorKnobs
    methods: dict[GeneratorName, GeneratorKnobs]


class Defaults(Closed):
    """defaults.yaml. colour: what datasets of three channels set differently."""

    knobs: Knobs
    methods: dict[MethodName, Knobs]
    colour: Knobs
    networks: dict[NetworkName, Knobs]
    generation: GenerationDefaults

    def of_cell(self, knobs: Training | Generative, channels: int) -> dict[str, Any]:
        """Return the defaults of a cell's method. channels: those of the dataset."""
        if isinstance(knobs, Generative):
            return self.of_generator(knobs.method)
        return self.of_autoencoder(knobs.method, knobs.network, channels)

    def of_autoencoder(self, method: str, network: str, channels: int) -> dict[str, Any]:
        """Return the defaults of a method in a network. channels: those of the dataset."""
        return {
            **self.knobs,
            **(self.colour if channels == 3 else {}),
            **self.networks.get(network, {}),
            **self.methods.get(method, {}),
        }

    def of_generator(self, method: str) -> dict[str, Any]:
        """Return the defaults of a generative model."""
        return {**self.generation.knobs, **self.generation.methods.get(method, {})}


# A multiple of the budget's own number of steps; as text a fraction, such as 1/16.
Length = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern="^1/[1-9][0-9]{0,3}$")]
# The values for which every row of a table is repeated: of a knob, or lengths of training.
Sweeps = dict[Literal["codebook_size", "code_dim", "length"], Distinct[Length]]


def of_length(length: int | str, knobs: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Return the knobs of a training on `length` times as many images as a training with `knobs`.

    images: the training images of the dataset. Part of an epoch becomes a whole epoch of fewer
    images.
    """
    images = min(knobs["train_images"] or images, images)
    exact_epochs = knobs["epochs"] * Fraction(length)
    epochs = math.ceil(exact_epochs)
    if epochs == exact_epochs:
        return {"epochs": epochs}
    return {"epochs": epochs, "train_images": round(images * exact_epochs / epochs)}


class Evaluation(Closed):
    """How reconstructions are measured.

    table_protocols: protocols of the cells that a table shows. fid_images, lpips_images: use the
    first so many test images; None means all.
    """

    protocols: Distinct[Protocol]
    table_protocols: dict[str, Distinct[Protocol]] = {}
    fid_images: Annotated[int, Field(ge=FEWEST_IMAGES["rFID"])] | None
    lpips_images: Annotated[int, Field(ge=1)] | None


class Generation(Closed):
    """Settings of generative models and of their first stages.

    Later settings override earlier ones: those of all, of a role, of a method, of a role and a
    method. For first stages the last step is a role and a network. reference_images: compare
    samples with the first so many training images, None for all. progress_samples: samples behind
    each distance that is measured during training.
    """

    first_stage: Knobs
    role_first_stage: dict[RoleName, Knobs] = {}
    method_first_stage: dict[MethodName, Knobs] = {}
    role_network_first_stage: dict[RoleName, dict[NetworkName, Knobs]] = {}
    knobs: GeneratorKnobs
    role_knobs: dict[RoleName, GeneratorKnobs] = {}
    method_knobs: dict[GeneratorName, GeneratorKnobs] = {}
    role_method_knobs: dict[RoleName, dict[GeneratorName, GeneratorKnobs]] = {}
    reference_images: Annotated[int, Field(ge=FEWEST_IMAGES["recall"])] | None
    progress_samples: Annotated[int, Field(ge=FEWEST_IMAGES["FID"])]

    def of_generator(self, role: str, method: str) -> dict[str, Any]:
        """Return the budget's settings of a generative model on a role's dataset."""
        of_role, of_method = self.role_knobs.get(role, {}), self.method_knobs.get(method, {})
        of_both = self.role_method_knobs.get(role, {}).get(method, {})
        return {**self.knobs, **of_role, **of_method, **of_both}

    def of_first_stage(self, role: str, method: str) -> dict[str, Any]:
        """Return the budget's settings of a first stage on a role's dataset, in any network."""
        of_role = self.role_first_stage.get(role, {})
        return {**self.first_stage, **of_role, **self.method_first_stage.get(method, {})}


class Budget(Closed):
    """budgets/<name>.yaml: how long cells train, on how much data, and how they are measured.

    roles: role -> dataset, or None without one. without: tables that would take too long, whose
    rows are printed as not at this budget. untrained_rows: table -> rows that would take too long,
    which show published numbers only. table_rows: table -> its only rows. table_seeds: the seeds of
    a table. sweeps: values that replace those of the experiments; table_sweeps: the same for a
    table.
    """

    title: Line
    roles: dict[RoleName, str | None]
    seeds: Seeds
    without: list[str] = []
    untrained_rows: dict[str, Distinct[Line]] = {}
    table_rows: dict[str, Distinct[Line]] = {}
    table_seeds: dict[str, Seeds] = {}
    knobs: Knobs
    role_knobs: dict[RoleName, Knobs] = {}
    network_knobs: dict[NetworkName, Knobs] = {}
    sweeps: Sweeps = {}
    table_sweeps: dict[str, Sweeps] = {}
    evaluation: Evaluation
    generation: Generation

    @model_validator(mode="after")
    def _all_roles(self) -> Budget:
        missing = [role for role in ROLES if role not in self.roles]
        if missing:
            raise ValueError(f"roles: {', '.join(missing)} missing; null means without a dataset")
        return self

    def sweeps_of(self, table: str) -> Sweeps:
        """Return the values that replace those of a table's own sweep."""
        return self.table_sweeps.get(table, self.sweeps)

    def seeds_of(self, table: str) -> list[int]:
        """Return the seeds of a table's rows."""
        return self.table_seeds.get(table, self.seeds)


def _all_or_a_cell(value: Any) -> bool | str:
    # Snakemake parses `True` as a boolean but leaves `true` as text.
    return {"true": True, "false": False}.get(str(value).lower(), str(value))


class RunConfig(Closed):
    """What `--config` may set for a run.

    retrain: True trains all cells again, False only unfinished ones, and the name of a cell trains
    this cell again. gpu: whether a job asks a cluster for a GPU. cells_per_gpu: how many jobs of
    this machine share a GPU. threads: of a job that trains or measures. hours: the longest time
    that a job asks a cluster for. plugins, experiments: see workflows/plugins.py.
    """

    budget: str = "embedded"
    plugins: str = ""
    experiments: str = ""
    retrain: Annotated[bool | str, BeforeValidator(_all_or_a_cell)] = False
    gpu: Literal[0, 1] = 0
    cells_per_gpu: Annotated[int, Field(ge=1, le=1000)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    hours: Annotated[int, Field(ge=1, le=876_000)] = 7 * 24
