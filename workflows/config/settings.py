"""Groups of knobs as people write them, and what a row starts from: defaults.yaml and a budget.

A value is checked where it is written, so that a message names that file and not a row of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from workflows.config.names import DIFFERENT, ROLES, Line, Protocol, RoleName, one_of
from workflows.errors import nearest
from workflows.knobs import IDENTITY, Closed, Diffusion
from workflows.registry import DIFFUSIONS, METHODS, NETWORKS, knobs_type

MethodName = Annotated[str, one_of(METHODS, "method")]
DiffusionName = Annotated[str, one_of(DIFFUSIONS, "method")]
NetworkName = Annotated[str, one_of(NETWORKS, "network")]
Seed = Annotated[int, Field(ge=0, le=1_000_000)]
Seeds = Annotated[list[Seed], Field(min_length=1), DIFFERENT]


def _fields(types: list[type[Closed]]) -> dict[str, TypeAdapter[Any]]:
    """Every knob of these types -> what checks its value."""
    found = {}
    for kind in types:
        for name, field in kind.model_fields.items():
            if name not in IDENTITY:
                checked: Any = Annotated[field.annotation, field]
                found[name] = TypeAdapter(checked, config=Closed.model_config)
    return found


AUTOENCODER = _fields([knobs_type(method, net) for method in METHODS for net in NETWORKS])
DIFFUSION = _fields([Diffusion])


def check_knobs(content: Any, knobs: Mapping[str, TypeAdapter[Any]]) -> dict[str, Any]:
    """The values of knobs, checked. Raises ValueError that names all that is wrong."""
    if not isinstance(content, Mapping):
        raise ValueError("expected a mapping of knobs to values")
    values, wrong = {}, []
    for name, value in content.items():
        if name not in knobs:
            wrong.append(f"unknown knob '{name}'; {nearest(str(name), list(knobs))}")
            continue
        try:
            values[name] = knobs[name].validate_python(value)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            wrong.append(f"{name}: {value!r} {message.replace('Input should', 'must')}")
    if wrong:
        raise ValueError("; and ".join(wrong))
    return values


Knobs = Annotated[
    dict[str, Any], BeforeValidator(lambda content: check_knobs(content, AUTOENCODER))
]
DiffusionKnobs = Annotated[
    dict[str, Any], BeforeValidator(lambda content: check_knobs(content, DIFFUSION))
]


class GenerationDefaults(Closed):
    """knobs: of every diffusion model. methods: what a method sets differently."""

    knobs: DiffusionKnobs
    methods: dict[DiffusionName, DiffusionKnobs]


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

    def of_diffusion(self, method: str) -> dict[str, Any]:
        """The defaults of a diffusion model, whatever the budget."""
        return {**self.generation.knobs, **self.generation.methods.get(method, {})}


class Sweeps(Closed):
    """Values in place of those of the experiments' sweeps, to go through fewer of them."""

    codebook_size: Annotated[list[int], Field(min_length=1), DIFFERENT] | None = None
    code_dim: Annotated[list[int], Field(min_length=1), DIFFERENT] | None = None


Protocols = Annotated[list[Protocol], Field(min_length=1), DIFFERENT]


class Evaluation(Closed):
    """How reconstructions are measured.

    table_protocols: of the cells that a table shows, where they are measured in other protocols
    too. fid_images, lpips_images: over the first so many test images; None means all.
    """

    protocols: Protocols
    table_protocols: dict[str, Protocols] = {}
    fid_images: Annotated[int, Field(ge=2)] | None
    lpips_images: Annotated[int, Field(ge=1)] | None


class Generation(Closed):
    """Diffusion models and their first stages.

    A method's settings go over a role's, and those of both over either. reference_images: samples
    are compared with the first so many training images, None for all; recall looks for three
    neighbours of each. progress_samples: behind each value of the distance during training.
    """

    first_stage: Knobs
    role_first_stage: dict[RoleName, Knobs] = {}
    method_first_stage: dict[MethodName, Knobs] = {}
    role_method_first_stage: dict[RoleName, dict[MethodName, Knobs]] = {}
    knobs: DiffusionKnobs
    role_knobs: dict[RoleName, DiffusionKnobs] = {}
    method_knobs: dict[DiffusionName, DiffusionKnobs] = {}
    role_method_knobs: dict[RoleName, dict[DiffusionName, DiffusionKnobs]] = {}
    reference_images: Annotated[int, Field(ge=4)] | None
    progress_samples: Annotated[int, Field(ge=2)]

    def of_first_stage(self, role: str, method: str) -> dict[str, Any]:
        """What the first stages of a method set differently on a role's dataset."""
        return {
            **self.first_stage,
            **self.role_first_stage.get(role, {}),
            **self.method_first_stage.get(method, {}),
            **self.role_method_first_stage.get(role, {}).get(method, {}),
        }

    def of_role(self, role: str, method: str) -> dict[str, Any]:
        """What is set for the diffusion models of this role alone."""
        return {
            **self.role_knobs.get(role, {}),
            **self.role_method_knobs.get(role, {}).get(method, {}),
        }

    def of_diffusion(self, role: str, method: str) -> dict[str, Any]:
        """What the diffusion models of a method set differently on a role's dataset."""
        return {
            **self.knobs,
            **self.role_knobs.get(role, {}),
            **self.method_knobs.get(method, {}),
            **self.role_method_knobs.get(role, {}).get(method, {}),
        }


Roles = dict[RoleName, str | None]


class Budget(Closed):
    """budgets/<name>.yaml: how long, on how much, and how thoroughly measured.

    roles: role -> dataset, or None if the budget has none for it. without: tables that would take
    too long; their rows are printed as not at this budget. table_seeds, table_role_seeds: the seeds
    of a table, on all datasets or on a role's.
    """

    title: Line
    roles: Roles
    seeds: Seeds
    without: list[str] = []
    table_seeds: dict[str, Seeds] = {}
    table_role_seeds: dict[str, dict[RoleName, Seeds]] = {}
    knobs: Knobs
    role_knobs: dict[RoleName, Knobs] = {}
    network_knobs: dict[NetworkName, Knobs] = {}
    sweeps: Sweeps = Sweeps()
    evaluation: Evaluation
    generation: Generation

    def model_post_init(self, context: Any) -> None:
        """Refuse a budget that leaves a role out; null says that it has no dataset for one."""
        missing = [role for role in ROLES if role not in self.roles]
        if missing:
            raise ValueError(f"roles: {', '.join(missing)} missing; null means without a dataset")

    def of_autoencoder(self, role: str, network: str) -> dict[str, Any]:
        """What the budget sets of autoencoders in a network on a role's dataset."""
        return {**self.network_knobs.get(network, {}), **self.of_role(role)}

    def of_role(self, role: str) -> dict[str, Any]:
        """What the budget sets whatever the network is."""
        return {**self.knobs, **self.role_knobs.get(role, {})}

    def seeds_of(self, table: str, role: str) -> list[int]:
        """The seeds of a table's rows on a role's dataset."""
        of_table = self.table_seeds.get(table, self.seeds)
        return self.table_role_seeds.get(table, {}).get(role, of_table)


def _all_or_a_cell(said: Any) -> Any:
    # Snakemake makes a boolean of `True` and leaves `true` a text.
    value = {"true": True, "false": False}.get(str(said).lower(), said)
    if isinstance(value, bool) or (isinstance(value, str) and "/" in value):
        return value
    raise ValueError(f"'{said}' is not allowed; allowed: true, false, the name of a cell")


class RunConfig(Closed):
    """What `--config` may say of a run.

    retrain: True trains every cell again, False none that is finished; a cell's name trains that
    cell again. gpu: whether a job asks a cluster for a GPU. cells_per_gpu: how many jobs of this
    machine share a GPU at the same time. threads: of a job that trains or measures, which its
    record names. hours: the most that a job asks a cluster for, as a partition allows.
    """

    budget: str = "embedded"
    retrain: Annotated[bool | str, BeforeValidator(_all_or_a_cell)] = False
    gpu: Literal[0, 1] = 0
    cells_per_gpu: Annotated[int, Field(ge=1, le=1000)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    hours: Annotated[int, Field(ge=1, le=876_000)] = 7 * 24
