"""Groups of knobs as people write them, and what a row starts from: defaults.yaml and a budget.

A value is checked where it is written, so that a message names that file and not a row of a table.
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

from workflows.config.names import DIFFERENT, ROLES, Line, Protocol, RoleName, one_of
from workflows.generators import GENERATORS
from workflows.knobs import IDENTITY, Closed
from workflows.metrics import FEWEST_IMAGES
from workflows.registry import METHODS, NETWORKS, knobs_type

MethodName = Annotated[str, one_of(METHODS, "method")]
GeneratorName = Annotated[str, one_of(GENERATORS, "method")]
NetworkName = Annotated[str, one_of(NETWORKS, "network")]
Seed = Annotated[int, Field(ge=0, le=1_000_000)]
Seeds = Annotated[list[Seed], Field(min_length=1), DIFFERENT]


def _some_of(name: str, kinds: Iterable[type[Closed]]) -> GetPydanticSchema:
    """A mapping with any of the knobs of these types, each checked as its type does."""
    fields: dict[str, Any] = {}
    for kind in kinds:
        for knob, field in kind.model_fields.items():
            # Of two types of a knob the first counts: no plug-in changes what other methods take.
            fields.setdefault(knob, (Annotated[field.annotation, Field(), *field.metadata], None))
    wanted = {knob: field for knob, field in fields.items() if knob not in IDENTITY}
    checked = AfterValidator(lambda knobs: knobs.model_dump(exclude_unset=True))
    model = create_model(name, __base__=Closed, **wanted)
    return GetPydanticSchema(lambda _, handler: handler(Annotated[model, checked]))


_AUTOENCODERS = [knobs_type(name, net) for name, about in METHODS.items() for net in about.networks]
Knobs = Annotated[dict[str, Any], _some_of("Autoencoder", _AUTOENCODERS)]
_GENERATORS = [about.knobs for about in GENERATORS.values()]
GeneratorKnobs = Annotated[dict[str, Any], _some_of("Generator", _GENERATORS)]


class GenerationDefaults(Closed):
    """knobs: of every generative model. methods: what a method sets differently."""

    knobs: GeneratorKnobs
    methods: dict[GeneratorName, GeneratorKnobs]


class Defaults(Closed):
    """defaults.yaml. colour: what images of three channels set differently."""

    knobs: Knobs
    methods: dict[MethodName, Knobs]
    colour: Knobs
    networks: dict[NetworkName, Knobs]
    generation: GenerationDefaults

    def of_autoencoder(self, method: str, network: str, channels: int) -> dict[str, Any]:
        """The defaults of a method in a network, whatever the budget."""
        return {
            **self.knobs,
            **(self.colour if channels == 3 else {}),
            **self.networks.get(network, {}),
            **self.methods.get(method, {}),
        }

    def of_generator(self, method: str) -> dict[str, Any]:
        """The defaults of a generative model, whatever the budget."""
        return {**self.generation.knobs, **self.generation.methods.get(method, {})}


# How many times the budget's own steps; as text a fraction, such as 1/16.
Length = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern="^1/[1-9][0-9]{0,3}$")]
# The values through which every row of a table is repeated: of a knob, or of `of_length`.
Sweeps = dict[
    Literal["codebook_size", "code_dim", "length"],
    Annotated[list[Length], Field(min_length=1), DIFFERENT],
]


def of_length(length: int | str, knobs: Mapping[str, Any], images: int) -> dict[str, Any]:
    """The knobs of a training that sees `length` times as many images as one with `knobs` does.

    images: that the dataset has to train on. A part of an epoch is a whole one of fewer images.
    """
    images = min(knobs["train_images"] or images, images)
    wanted = knobs["epochs"] * Fraction(length)
    epochs = math.ceil(wanted)
    if epochs == wanted:
        return {"epochs": epochs}
    return {"epochs": epochs, "train_images": round(images * wanted / epochs)}


Protocols = Annotated[list[Protocol], Field(min_length=1), DIFFERENT]


class Evaluation(Closed):
    """How reconstructions are measured.

    table_protocols: of the cells that a table shows, where they are measured in other protocols
    too. fid_images, lpips_images: over the first so many test images; None means all.
    """

    protocols: Protocols
    table_protocols: dict[str, Protocols] = {}
    fid_images: Annotated[int, Field(ge=FEWEST_IMAGES["rFID"])] | None
    lpips_images: Annotated[int, Field(ge=1)] | None


class Generation(Closed):
    """Generative models and their first stages.

    A method's settings go over a role's, and those of both over either; of first stages those of a
    role and a network go over all of these. reference_images: samples are compared with the first
    so many training images, None for all. progress_samples: behind each value of the distance
    during training.
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
        """What the budget sets for a generative model on a role's dataset."""
        both = self.role_method_knobs.get(role, {}).get(method, {})
        of_role, of_method = self.role_knobs.get(role, {}), self.method_knobs.get(method, {})
        return {**self.knobs, **of_role, **of_method, **both}

    def of_first_stage(self, role: str, method: str) -> dict[str, Any]:
        """What the budget sets for a first stage on a role's dataset, whatever its network is."""
        of_role = self.role_first_stage.get(role, {})
        return {**self.first_stage, **of_role, **self.method_first_stage.get(method, {})}


Rows = Annotated[list[Line], Field(min_length=1), DIFFERENT]


class Budget(Closed):
    """budgets/<name>.yaml: how long, on how much, and how thoroughly measured.

    roles: role -> dataset, or None if the budget has none for it. without: tables that would take
    too long; their rows are printed as not at this budget. untrained_rows: rows of a table that
    would take too long; of these the published numbers are shown alone. table_rows: the only rows
    of a table. table_seeds, table_role_seeds: the seeds of a table, on all datasets or on a role's.
    sweeps: in place of the experiments' own; table_sweeps: in place of either.
    """

    title: Line
    roles: dict[RoleName, str | None]
    seeds: Seeds
    without: list[str] = []
    untrained_rows: dict[str, Rows] = {}
    table_rows: dict[str, Rows] = {}
    table_seeds: dict[str, Seeds] = {}
    table_role_seeds: dict[str, dict[RoleName, Seeds]] = {}
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

    def of_role(self, role: str) -> dict[str, Any]:
        """What the budget sets on a role's dataset, whatever the network is."""
        return {**self.knobs, **self.role_knobs.get(role, {})}

    def sweeps_of(self, table: str) -> Sweeps:
        """The values that a table is repeated for, in place of its own."""
        return self.table_sweeps.get(table, self.sweeps)

    def seeds_of(self, table: str, role: str) -> list[int]:
        """The seeds of a table's rows on a role's dataset."""
        of_table = self.table_seeds.get(table, self.seeds)
        return self.table_role_seeds.get(table, {}).get(role, of_table)


def _all_or_a_cell(said: Any) -> bool | str:
    # Snakemake makes a boolean of `True` and leaves `true` a text.
    return {"true": True, "false": False}.get(str(said).lower(), str(said))


class RunConfig(Closed):
    """What `--config` may say of a run.

    retrain: True trains every cell again, False none that is finished; a cell's name trains that
    cell again. gpu: whether a job asks a cluster for a GPU. cells_per_gpu: how many jobs of this
    machine share a GPU at the same time. threads: of a job that trains or measures, which its
    record names. hours: the most that a job asks a cluster for, as a partition allows. plugins,
    experiments: see workflows/plugins.py.
    """

    budget: str = "embedded"
    plugins: str = ""
    experiments: str = ""
    retrain: Annotated[bool | str, BeforeValidator(_all_or_a_cell)] = False
    gpu: Literal[0, 1] = 0
    cells_per_gpu: Annotated[int, Field(ge=1, le=1000)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    hours: Annotated[int, Field(ge=1, le=876_000)] = 7 * 24
