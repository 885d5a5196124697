"""Rows and cells: shared runs, stable names, and bad input refused by name."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from workflows.cell import slug
from workflows.data import describe, names
from workflows.grid import ROOM, Grid, load_grid
from workflows.registry import METHODS, build_sampler
from workflows.schema import ConfigError, schema

DATASETS = {name: describe(name) for name in names()}


LITE = yaml.safe_load((ROOM / "budgets" / "lite.yaml").read_text())
ROLES, GENERATION_OF_LITE = LITE["roles"], LITE["generation"]
GENERATION = yaml.safe_load((ROOM / "defaults.yaml").read_text())["generation"]
U_NET = {"unet_channels": 136, "unet_multipliers": [1, 2]}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A copy of the configuration, to be spoilt."""
    for name in ("budgets", "experiments", "schemas"):
        shutil.copytree(ROOM / name, tmp_path / name)
    shutil.copy(ROOM / "defaults.yaml", tmp_path)
    return tmp_path


def test_a_run_that_several_tables_show_is_one_cell() -> None:
    grid = load_grid("lite", DATASETS)
    assert grid.tables_of("mnist/cvq_vae/default/seed0") == [
        "anchors",
        "code_dimension",
        "codebook_size",
        "components",
        "methods",
        "reinitialisation",
    ]


@pytest.mark.parametrize(
    "cell",
    [
        "cifar10/cvq_vae/closest-offline/seed0",
        "mnist/sq_vae/K1024/seed0",
        "celeba_subset_64/vq_vae/vqgan-f8-critic1000-D4-epochs2-B8/seed0",
        "cifar10/cvq_vae/D2-l2/seed0",
        "cifar10/ddpm/conditional/seed0",
        "cifar10/ldm/cvq_vae-D4+conditional/seed0",
        "celeba_subset_64/ldm/vq_vae-vqgan-f8-critic1000-D4-epochs2-B8/seed0",
    ],
)
def test_names_are_stable(cell: str) -> None:
    assert load_grid("lite", DATASETS).cell(cell).id == cell


def test_colour_images_have_their_own_defaults() -> None:
    cells = load_grid("lite", DATASETS).cells
    assert cells["mnist/sq_vae/default/seed0"].knobs["sq_final_temperature"] == 0.21
    assert cells["cifar10/sq_vae/default/seed0"].knobs["sq_final_temperature"] == 0.29


def test_unknown_cell_names_the_nearest() -> None:
    grid: Grid = load_grid("embedded", DATASETS)
    with pytest.raises(ConfigError, match="did you mean mnist_5k/cvq_vae/closest/seed0"):
        grid.cell("mnist_5k/cvq_vae/closets/seed0")


def test_defaults_are_append_only() -> None:
    """A finished run's record may lack a knob, which then has its default: append, and add the
    digest here.
    """
    values = yaml.safe_load((ROOM / "defaults.yaml").read_text())
    digest = hashlib.sha256(repr(values).encode()).hexdigest()[:16]
    assert digest == "5bf7d6a8954ac09d"
    others = [*values["networks"].values(), *values["methods"].values()]
    beside = {key for some in others for key in some}
    assert set(schema("cell")["properties"]) == (
        {"dataset", "method", "seed"} | {*values["knobs"]} | beside
    )
    diffusion = {"dataset", "method", "seed", "first_stage", *values["generation"]["knobs"]}
    assert set(schema("generation_cell")["properties"]) == diffusion


def spoil(file: Path, change: dict) -> None:
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "budgets/lite.yaml",
            {"knobs": {"epoch": 3}},
            "unknown key 'epoch'; did you mean 'epochs'",
        ),
        ("budgets/lite.yaml", {"role_knobs": {"face": {}}}, "role_knobs: unknown key 'face'"),
        (
            "budgets/lite.yaml",
            {"roles": {**ROLES, "photographs": "ffhq_subset_64"}},
            "roles: 'ffhq_subset_64' is both faces and photographs, which table 'vqgan' shows",
        ),
        (
            "budgets/lite.yaml",
            {
                "generation": {**GENERATION_OF_LITE, "first_stage": {"code_dim": 4}},
                "role_knobs": {"natural": {"batch_size": 8}},
            },
            "cell 'cifar10/vq_vae/D4/seed0' is already another run",
        ),
        (
            "budgets/lite.yaml",
            {"roles": {**ROLES, "digits": "mnits", "natural": "cifar10", "faces": None}},
            "roles.digits: unknown dataset 'mnits'; allowed: buildings_64, .*cifar10",
        ),
        (
            "budgets/lite.yaml",
            {"table_seeds": {"method": [0, 1]}},
            "table_seeds: unknown key 'method'; did you mean 'methods'",
        ),
        (
            "budgets/lite.yaml",
            {"table_role_seeds": {"methods": {"digit": [0, 1]}}},
            "table_role_seeds.methods: unknown key 'digit'; did you mean 'digits'",
        ),
        (
            "budgets/lite.yaml",
            {"generation": {**GENERATION_OF_LITE, "method_first_stage": {"mowq": {}}}},
            "method_first_stage: method: 'mowq' is not allowed; did you mean 'movq'",
        ),
        (
            "budgets/lite.yaml",
            {
                "generation": {
                    **GENERATION_OF_LITE,
                    "role_method_knobs": {"objects": {"ddpm": {"epoch": 3}}},
                }
            },
            "role_method_knobs.objects.ddpm: unknown key 'epoch'; did you mean 'epochs'",
        ),
        (
            "experiments/anchors.yaml",
            {"rows": [{"row": "a", "method": "cvq"}]},
            "method: 'cvq' is not allowed; did you mean 'cvq_vae'",
        ),
        ("experiments/anchors.yaml", {"metrics": ["FID"]}, "metrics.0: 'FID' is not allowed"),
        ("experiments/anchors.yaml", {"sweep": {"dim": [4]}}, "unknown key 'dim'"),
        (
            "budgets/lite.yaml",
            {"network_knobs": {"vqgan": {"downsampling": 3}}},
            "network_knobs.vqgan: downsampling: '3' is not allowed; allowed: 4, 8, 16",
        ),
        (
            "experiments/methods.yaml",
            {"rows": [{"row": "a", "method": "movq", "network": "convnet"}]},
            "row 'a': network: ",
        ),
        (
            "experiments/methods.yaml",
            {"rows": [{"row": "a", "method": "movq", "code_dim": 6}]},
            "row 'a': code_dim: 6 is not a multiple of channel_groups: 4",
        ),
        (
            "experiments/methods.yaml",
            {"rows": [{"row": "a", "method": "vq_vae", "network": "vqgan", "downsampling": 8}]},
            "row 'a': downsampling: the 28 pixels of 'mnist' are not a multiple of 8",
        ),
        (
            "experiments/methods.yaml",
            {"rows": [{"row": "a", "method": "vq_vae", "network": "vqgan"}]},
            "row 'a': perceptual_network: 'alex' needs 31 pixels, 'mnist' has 28; allowed: vgg",
        ),
        (
            "experiments/anchors.yaml",
            {"rows": [{"row": "published alone"}]},
            "missing key 'method'",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ldm", "first_stage": "cvq"}]},
            "first_stage: 'cvq' is not allowed; allowed: vq_vae",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ddpm", "first_stage": "vq_vae"}]},
            "first_stage: 'buildings_64/vq_vae/.*/seed0' is not of type null",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ldm"}]},
            "first_stage: None is not of type string",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ddpm", "guidance": 2.0}]},
            "row 'a': guidance: ",
        ),
        (
            "experiments/generation_ffhq_imagenet.yaml",
            {
                "rows": [{"row": "a", "method": "ddpm", "guidance": 3.0, "label_dropout": 0.0}],
                "roles": ["objects"],
            },
            "row 'a': guidance: 3.0 of a model that never trains without a class",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ddpm", "sampling_steps": 1001}]},
            "row 'a': sampling_steps: 1001 is more than noise_steps: 1000",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ddpm", "sampling_steps": 600}]},
            "row 'a': sampling_steps: 600 does not divide noise_steps: 1000; allowed: its "
            "divisors, 1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1000$",
        ),
        (
            "budgets/lite.yaml",
            {"generation": {**GENERATION_OF_LITE, "role_knobs": {"objects": {"noise_steps": 90}}}},
            r"generation\.role_knobs\.objects: sampling_steps: 50 does not divide noise_steps: 90",
        ),
        (
            "budgets/lite.yaml",
            {"generation": {**GENERATION_OF_LITE, "knobs": {"samples": 7}}},
            r"generation\.knobs: samples: 7 is less than the minimum of 8; allowed: >= 8",
        ),
        (
            "budgets/lite.yaml",
            {"generation": {**GENERATION_OF_LITE, "reference_images": 3}},
            "generation.reference_images: 3 is less than the minimum of 4; allowed: >= 4",
        ),
        (
            "budgets/lite.yaml",
            {"generation": {**GENERATION_OF_LITE, "role_knobs": {"churches": U_NET}}},
            r"generation\.role_knobs\.churches: unet_channels: 136 makes levels of 136, 272 "
            "channels, .* of the 32 groups .*; allowed next to it: 128, 160$",
        ),
        (
            "budgets/lite.yaml",
            {
                "generation": {
                    **GENERATION_OF_LITE,
                    "role_method_knobs": {"objects": {"ldm": {"head_channels": 200}}},
                }
            },
            r"generation\.role_method_knobs\.objects\.ldm: head_channels: 200 is more than the 96 "
            "channels of a level that attends; allowed: 8 to 96$",
        ),
        (
            "defaults.yaml",
            {"generation": {**GENERATION, "knobs": {**GENERATION["knobs"], "unet_channels": 136}}},
            "generation.knobs: unet_channels: 136 makes levels",
        ),
        (
            "experiments/generation_lsun.yaml",
            {"conditional": ["churches"]},
            "dataset 'buildings_64' has no classes to be asked for",
        ),
    ],
)
def test_bad_input_is_refused_by_name(room: Path, file: str, change: dict, message: str) -> None:
    spoil(room / file, change)
    with pytest.raises(ConfigError, match=message) as refused:
        load_grid("lite", DATASETS, room)
    assert Path(file).name in str(refused.value)


def test_a_guided_model_names_its_guidance(room: Path) -> None:
    rows = [{"row": "a", "method": "ddpm", "guidance": 7.5, "label_dropout": 0.2}]
    spoil(room / "experiments/generation_ffhq_imagenet.yaml", {"rows": rows, "roles": ["objects"]})
    cells = load_grid("lite", DATASETS, room).cells
    assert "cifar10/ddpm/conditional-dropout0.2-guidance7.5/seed0" in cells


def test_a_diffusion_model_and_its_first_stage_share_a_seed() -> None:
    for cell in load_grid("lite", DATASETS).cells.values():
        if cell.first_stage is not None:
            assert cell.first_stage.rpartition("/")[2] == cell.id.rpartition("/")[2]
            assert cell.first_stage in load_grid("lite", DATASETS).cells


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ({"role_knobs": {"churches": {"guidance": 3.0, "label_dropout": 0.1}}}, "label_dropout"),
        # A role that the budget has no dataset for is no licence.
        ({"role_method_knobs": {"bedrooms": {"ddpm": {"guidance": 3.0}}}}, "guidance"),
    ],
)
def test_guidance_of_a_role_that_no_experiment_conditions_is_refused(
    room: Path, group: dict[str, Any], key: str
) -> None:
    ((name, roles),) = group.items()
    where = f"{name}.{next(iter(roles))}{'.ddpm' if 'method' in name else ''}: {key}"
    spoil(room / "budgets/lite.yaml", {"generation": {**GENERATION_OF_LITE, **group}})
    message = rf"budgets/lite\.yaml: generation\.{where}: .*conditional roles: objects$"
    with pytest.raises(ConfigError, match=message):
        load_grid("lite", DATASETS, room)


def test_settings_that_ask_for_no_guidance_go_with_any_role(room: Path) -> None:
    role_knobs = {"churches": {"guidance": 1.0, "label_dropout": 0.0}}
    generation = {**GENERATION_OF_LITE, "role_knobs": role_knobs}
    spoil(room / "budgets/lite.yaml", {"generation": generation})
    assert load_grid("lite", DATASETS, room).cells["buildings_64/ddpm/default/seed0"]


def test_a_row_that_conditions_itself_is_guided_as_the_budget_says(room: Path) -> None:
    rows = [{"row": "a", "method": "ddpm", "conditional": True}]
    table = {"rows": rows, "roles": ["objects"], "conditional": []}
    spoil(room / "experiments/generation_ffhq_imagenet.yaml", table)
    cells = load_grid("lite", DATASETS, room).cells
    assert cells["cifar10/ddpm/conditional/seed0"].knobs["guidance"] == 3.0


def test_a_budget_may_guide_what_experiments_condition(room: Path) -> None:
    """Guidance is of models that know classes; the others do without."""
    knobs = {**GENERATION_OF_LITE["knobs"], "guidance": 1.5, "label_dropout": 0.1}
    generation = {**GENERATION_OF_LITE, "knobs": knobs, "role_knobs": {}}
    spoil(room / "budgets/lite.yaml", {"generation": generation})
    cells = load_grid("lite", DATASETS, room).cells
    assert cells["cifar10/ddpm/conditional/seed0"].knobs["guidance"] == 1.5
    assert cells["buildings_64/ddpm/default/seed0"].knobs["guidance"] == 1.0


def test_a_critic_begins_where_it_was_published_for_the_dataset() -> None:
    """VQGAN's 250,001 for ImageNet, also below what generates it, and 30,001 for faces."""
    cells = load_grid("paper", DATASETS).cells.values()
    networks = [cell.knobs for cell in cells if cell.knobs.get("network") == "vqgan"]
    begins: dict[str, set[int]] = {}
    for knobs in networks:
        begins.setdefault(knobs["dataset"], set()).add(knobs["adversarial_start"])
        # Later than the end it would be no setting.
        dataset = DATASETS[knobs["dataset"]]
        images = dataset.images["train"] - dataset.validation
        steps = knobs["epochs"] * -(-images // knobs["batch_size"])
        assert knobs["adversarial_start"] < steps
    assert (begins["imagenet"], begins["ffhq"]) == ({250001}, {30001})
    of_imagenet = [knobs["downsampling"] for knobs in networks if knobs["dataset"] == "imagenet"]
    assert {*of_imagenet} == {4, 16}


def test_models_of_pixels_have_the_noise_and_the_loss_of_their_method() -> None:
    """What latent diffusion has on a dataset is of models of latents."""
    start = {**GENERATION["knobs"], **GENERATION["methods"]["ddpm"]}
    keys = ("noise_steps", "noise_schedule", "noise_start", "noise_end", "diffusion_loss")
    cells = load_grid("paper", DATASETS).cells
    models = {name: cell for name, cell in cells.items() if cell.knobs["method"] == "ddpm"}
    assert {cell.knobs["dataset"] for cell in models.values()} == {
        *("lsun_churches", "lsun_bedrooms", "ffhq", "imagenet")
    }
    for name, cell in models.items():
        for key in (*keys, "warmup_steps"):
            assert cell.knobs[key] == start[key], (name, key)
    churches = [cell.knobs for name, cell in cells.items() if name.startswith("lsun_churches/ldm")]
    assert {(k["noise_end"], k["diffusion_loss"], k["warmup_steps"]) for k in churches} == {
        (0.0155, "l1", 10000)
    }


@pytest.mark.parametrize("budget", ["smoke", "embedded", "lite", "paper"])
def test_sampling_begins_at_the_last_of_its_steps(budget: str) -> None:
    """Of T / n times each, from one: the first is T / n before the end, where noise is all."""
    models = [cell for cell in load_grid(budget, DATASETS).cells.values() if cell.stage == 2]
    settings = {(cell.knobs["sampling_steps"], cell.knobs["noise_steps"]) for cell in models}
    assert settings
    for steps, most in settings:
        asked = {"sampling_steps": steps, "noise_steps": most}
        sampler = build_sampler({**models[0].knobs, **asked})
        assert sampler.timesteps[0] == most - most // steps + 1


def test_a_table_can_have_more_seeds(room: Path) -> None:
    """A run that other tables show too is trained for every seed that one of them has."""
    spoil(room / "budgets/lite.yaml", {"table_seeds": {"methods": [0, 1, 2]}, "seeds": [0]})
    grid = load_grid("lite", DATASETS, room)
    seeds = {
        table: {grid.cell(row.cell).knobs["seed"] for row in grid.rows if row.table == table}
        for table in grid.tables
    }
    assert seeds["methods"] == {0, 1, 2}
    assert seeds["anchors"] == {0}
    assert grid.tables_of("mnist/cvq_vae/default/seed2") == ["methods"]


def test_a_table_can_have_more_seeds_on_some_datasets(room: Path) -> None:
    more = {"table_role_seeds": {"methods": {"digits": [3, 4]}}, "seeds": [0], "table_seeds": {}}
    spoil(room / "budgets/lite.yaml", more)
    grid = load_grid("lite", DATASETS, room)
    shown = [row for row in grid.rows if row.table == "methods"]
    seeds = {(row.role, grid.cell(row.cell).knobs["seed"]) for row in shown}
    assert seeds == {("digits", 3), ("digits", 4), ("natural", 0)}


@pytest.mark.parametrize(("name", "method"), [("knobs", "ddpm"), ("first_stage", "movq")])
def test_of_groups_of_settings_the_nearest_one_counts(room: Path, name: str, method: str) -> None:
    """The budget's, a role's, a method's, those of both."""
    groups = {f"role_{name}": {"objects": {"epochs": 7}}, f"method_{name}": {method: {"epochs": 8}}}
    both = {f"role_method_{name}": {"objects": {method: {"epochs": 9}}}}
    plain = {
        key: GENERATION_OF_LITE[key] for key in ("knobs", "reference_images", "progress_samples")
    }
    plain["first_stage"] = {"code_dim": 4}
    for asked, epochs in (
        (groups, 8),
        (groups | both, 9),
        ({f"role_{name}": groups[f"role_{name}"]}, 7),
    ):
        spoil(room / "budgets/lite.yaml", {"generation": {**plain, **asked}})
        cells = load_grid("lite", DATASETS, room).cells
        found = {
            made.knobs["epochs"]
            for made in cells.values()
            if made.knobs["dataset"] == "cifar10" and made.knobs["method"] == method
        }
        assert found == {epochs}


def test_unknown_budget() -> None:
    with pytest.raises(ConfigError, match="budget: 'lit' is unknown; allowed: embedded, lite"):
        load_grid("lit", DATASETS)


def test_a_run_has_the_knobs_that_it_takes_and_no_others() -> None:
    cells = load_grid("lite", DATASETS).cells
    common = {"dataset", "method", "seed", "network", "codebook_size", "code_dim", "epochs"}
    common |= {"batch_size", "learning_rate", "precision", "train_images"}
    stochastic = {"sq_initial_variance", "sq_final_temperature"}
    assert {*cells["mnist/sq_vae/default/seed0"].knobs} == common | stochastic
    nearest = {"distance", "commitment_weight", "codebook_weight"}
    assert {*cells["mnist/vq_vae/default/seed0"].knobs} == common | nearest
    clustered = {"anchors", "schedule", "contrastive", "contrastive_weight"}
    assert {*cells["mnist/cvq_vae/default/seed0"].knobs} == common | nearest | clustered
    assert {*METHODS} == {cell.knobs["method"] for cell in cells.values() if cell.stage == 1}
    for cell in cells.values():
        assert cell.stage == 2 or {*cell.knobs} <= {*cell.defaults} | {"dataset", "method", "seed"}


def test_a_knob_that_a_method_does_not_take_is_refused(room: Path) -> None:
    row = {"row": "a", "method": "vq_vae", "anchors": "random"}
    spoil(room / "experiments/methods.yaml", {"rows": [row]})
    said = (
        "row 'a': anchors: method 'vq_vae' in network 'convnet' does not take it; allowed: "
        "batch_size, code_dim, codebook_size, codebook_weight, commitment_weight, distance"
    )
    with pytest.raises(ConfigError, match=said):
        load_grid("lite", DATASETS, room)


@pytest.mark.parametrize(
    ("pattern", "value", "name"),
    [
        ("contrastive", True, "contrastive"),
        ("contrastive", False, "no_contrastive"),
        ("N{}", None, "Nall"),
        ("N{}", 100, "N100"),
        ("levels{}", [1, 2, 4], "levels1.2.4"),
        ("lr{}", 0.0003, "lr0.0003"),
    ],
)
def test_a_name_says_the_value(pattern: str, value: Any, name: str) -> None:
    assert slug(pattern, value) == name


def test_every_value_of_a_knob_has_a_name_of_its_own() -> None:
    """A knob without one would give two runs the same name."""
    for kind, unnamed in (
        ("cell", {"dataset", "method", "seed"}),
        ("generation_cell", {"dataset", "method", "seed", "first_stage"}),
    ):
        properties = schema(kind)["properties"]
        assert {name for name, rule in properties.items() if "x-slug" not in rule} == unnamed
        patterns = [rule["x-slug"] for rule in properties.values() if "x-slug" in rule]
        words = [pattern for pattern in patterns if pattern != "{}"]
        assert len(words) == len(set(words)), kind


def test_a_table_may_have_more_protocols_than_others() -> None:
    grid = load_grid("lite", DATASETS)
    assert grid.protocols_of("methods") == ["exact", "as_published"]
    assert grid.protocols_of("anchors") == ["as_published"]
    assert grid.protocols_of("generation_lsun") == ["samples"]
    # A cell is measured in the protocols of all tables that show it.
    assert grid.protocols("mnist/cvq_vae/default/seed0") == ["as_published", "exact"]
    assert grid.protocols("mnist/cvq_vae/random/seed0") == ["as_published"]
