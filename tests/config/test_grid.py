"""Rows and cells: shared runs, stable names, settings and the order in which they count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.test_refused import DATASETS, room, spoil
from tests.config.test_refused import GENERATION as GENERATION_OF_LITE
from workflows.config.grid import ROOM, Grid, load_grid
from workflows.errors import ConfigError
from workflows.knobs import IDENTITY, SLUGS, Diffusion, variant
from workflows.registry import METHODS, build_sampler, knobs_type

__all__ = ["room"]
APART = ("first_stages", "generation_lsun", "generation_ffhq_imagenet", "vqgan")
BUDGETS = ["embedded", "lite", "paper"]
GENERATION = yaml.safe_load((ROOM / "defaults.yaml").read_text())["generation"]


def test_a_default_run_feeds_five_tables() -> None:
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
        "mnist/vq_vae/default/seed0",
        "mnist/vq_vae/cosine/seed0",
        "cifar10/cvq_vae/closest-offline/seed0",
        "cifar10/cvq_vae/contrastive/seed0",
        "mnist/sq_vae/K1024/seed0",
        "mnist/cvq_vae/D4/seed0",
        "ffhq_subset_64/near_codevectors/default/seed0",
        "celeba_subset_64/vq_vae/vqgan-f8-critic1000-D4-epochs2-B8/seed0",
        "ffhq_subset_64/movq/default/seed0",
        "cifar10/vq_vae/D2/seed0",
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
    assert cells["mnist/sq_vae/default/seed0"].knobs.sq_final_temperature == 0.21
    assert cells["cifar10/sq_vae/default/seed0"].knobs.sq_final_temperature == 0.29


def test_unknown_cell_names_the_nearest() -> None:
    grid: Grid = load_grid("embedded", DATASETS)
    with pytest.raises(ConfigError, match="did you mean mnist_5k/cvq_vae/closest/seed0"):
        grid.cell("mnist_5k/cvq_vae/closets/seed0")


def test_a_role_can_train_for_longer() -> None:
    cells = load_grid("lite", DATASETS).cells
    epochs = {
        name.partition("/")[0]: cell.knobs.epochs
        for name, cell in cells.items()
        if cell.stage == 1 and "D4" not in name
    }
    assert {name: epochs[name] for name in ("mnist", "cifar10", "ffhq_subset_64")} == {
        "mnist": 16,
        "cifar10": 8,
        "ffhq_subset_64": 16,
    }


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
    assert cells["cifar10/ddpm/conditional/seed0"].knobs.guidance == 3.0


def test_a_budget_may_guide_what_experiments_condition(room: Path) -> None:
    """Guidance is of models that know classes; the others do without."""
    knobs = {**GENERATION_OF_LITE["knobs"], "guidance": 1.5, "label_dropout": 0.1}
    generation = {**GENERATION_OF_LITE, "knobs": knobs, "role_knobs": {}}
    spoil(room / "budgets/lite.yaml", {"generation": generation})
    cells = load_grid("lite", DATASETS, room).cells
    assert cells["cifar10/ddpm/conditional/seed0"].knobs.guidance == 1.5
    assert cells["buildings_64/ddpm/default/seed0"].knobs.guidance == 1.0


def test_a_critic_begins_where_it_was_published_for_the_dataset() -> None:
    """VQGAN's 250,001 for ImageNet, also below what generates it, and 30,001 for faces."""
    cells = load_grid("paper", DATASETS).cells.values()
    networks: list[Any] = [cell.knobs for cell in cells]
    networks = [knobs for knobs in networks if getattr(knobs, "network", "") == "vqgan"]
    begins: dict[str, set[int]] = {}
    for knobs in networks:
        begins.setdefault(knobs.dataset, set()).add(knobs.adversarial_start)
        # Later than the end it would be no setting.
        dataset = DATASETS[knobs.dataset]
        steps = knobs.epochs * -(-dataset.trained // knobs.batch_size)
        assert knobs.adversarial_start < steps
    assert (begins["imagenet"], begins["ffhq"]) == ({250001}, {30001})
    of_imagenet = [knobs.downsampling for knobs in networks if knobs.dataset == "imagenet"]
    assert {*of_imagenet} == {4, 16}


def test_models_of_pixels_have_the_noise_and_the_loss_of_their_method() -> None:
    """What latent diffusion has on a dataset is of models of latents."""
    start = {**GENERATION["knobs"], **GENERATION["methods"]["ddpm"]}
    keys = ("noise_steps", "noise_schedule", "noise_start", "noise_end", "diffusion_loss")
    cells = load_grid("paper", DATASETS).cells
    models = {name: cell for name, cell in cells.items() if cell.knobs.method == "ddpm"}
    assert {cell.knobs.dataset for cell in models.values()} == {
        *("lsun_churches", "lsun_bedrooms", "ffhq", "imagenet")
    }
    for name, cell in models.items():
        for key in (*keys, "warmup_steps"):
            assert getattr(cell.knobs, key) == start[key], (name, key)
    churches = [cell.knobs for name, cell in cells.items() if name.startswith("lsun_churches/ldm")]
    assert {(k.noise_end, k.diffusion_loss, k.warmup_steps) for k in churches} == {
        (0.0155, "l1", 10000)
    }


@pytest.mark.parametrize("budget", ["smoke", *BUDGETS])
def test_sampling_begins_at_the_last_of_its_steps(budget: str) -> None:
    """Of T / n times each, from one: the first is T / n before the end, where noise is all."""
    models = [cell for cell in load_grid(budget, DATASETS).cells.values() if cell.stage == 2]
    settings = {(cell.knobs.sampling_steps, cell.knobs.noise_steps) for cell in models}
    assert settings
    for steps, most in settings:
        asked = {"sampling_steps": steps, "noise_steps": most}
        sampler = build_sampler(models[0].knobs.model_copy(update=asked))
        assert sampler.timesteps[0] == most - most // steps + 1


def test_a_table_can_have_more_seeds(room: Path) -> None:
    """A run that other tables show too is trained for every seed that one of them has."""
    spoil(room / "budgets/lite.yaml", {"table_seeds": {"methods": [0, 1, 2]}, "seeds": [0]})
    grid = load_grid("lite", DATASETS, room)
    seeds = {
        table: {grid.cell(row.cell).knobs.seed for row in grid.rows if row.table == table}
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
    seeds = {(row.role, grid.cell(row.cell).knobs.seed) for row in shown}
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
            made.knobs.epochs
            for made in cells.values()
            if made.knobs.dataset == "cifar10" and made.knobs.method == method
        }
        assert found == {epochs}


def test_a_run_has_the_knobs_that_it_takes_and_no_others() -> None:
    cells = load_grid("lite", DATASETS).cells
    common = {"dataset", "method", "seed", "network", "codebook_size", "code_dim", "epochs"}
    common |= {"batch_size", "learning_rate", "precision", "train_images"}
    stochastic = {"sq_initial_variance", "sq_final_temperature"}
    found = {name: {*cell.knobs.model_dump()} for name, cell in cells.items()}
    assert found["mnist/sq_vae/default/seed0"] == common | stochastic
    nearest = {"distance", "commitment_weight", "codebook_weight"}
    assert found["mnist/vq_vae/default/seed0"] == common | nearest
    clustered = {"anchors", "schedule", "contrastive", "contrastive_weight"}
    assert found["mnist/cvq_vae/default/seed0"] == common | nearest | clustered
    assert {*METHODS} == {cell.knobs.method for cell in cells.values() if cell.stage == 1}
    for name, cell in cells.items():
        # What stands for a knob that an old record lacks.
        assert found[name] <= {*cell.defaults, *IDENTITY}


@pytest.mark.parametrize(
    ("knob", "value", "name"),
    [
        ("contrastive", True, "contrastive"),
        ("contrastive", False, "no_contrastive"),
        ("train_images", None, "Nall"),
        ("train_images", 100, "N100"),
        ("unet_multipliers", [1, 2, 4], "levels1.2.4"),
        ("learning_rate", 0.0003, "lr0.0003"),
        ("of_a_new_method", 3, "of_a_new_method3"),
    ],
)
def test_a_name_says_the_value(knob: str, value: Any, name: str) -> None:
    assert variant({knob: value}, {knob: "another"}) == name


def test_every_value_of_a_knob_has_a_name_of_its_own() -> None:
    """Two knobs of one slug would give two runs the same name."""
    types = [knobs_type(name, net) for name, about in METHODS.items() for net in about.networks]
    for kind in (*types, Diffusion):
        slugs = [SLUGS[name] for name in kind.model_fields if name in SLUGS]
        words = [slug for slug in slugs if slug != "{}"]
        assert len(words) == len(set(words)), kind


def test_a_table_may_have_more_protocols_than_others() -> None:
    grid = load_grid("lite", DATASETS)
    assert grid.protocols_of("methods") == ["exact", "as_published"]
    assert grid.protocols_of("anchors") == ["as_published"]
    assert grid.protocols_of("generation_lsun") == ["samples"]
    # A cell is measured in the protocols of all tables that show it.
    assert grid.protocols("mnist/cvq_vae/default/seed0") == ["as_published", "exact"]
    assert grid.protocols("mnist/cvq_vae/random/seed0") == ["as_published"]
