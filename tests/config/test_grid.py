"""Rows and cells: shared runs, stable names, settings and the order in which they count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import plans
from tests.config.test_refused import DATASETS, GENERATION, generation, room, spoil
from tests.knobs import DIFFUSION, typed
from workflows.config.grid import Grid, load_grid, read_budgets
from workflows.config.planning import make_plan
from workflows.config.settings import of_length
from workflows.errors import ConfigError
from workflows.generators import GENERATORS, diffusion_process
from workflows.knobs import IDENTITY, SLUGS, Diffusion, variant
from workflows.registry import METHODS, knobs_type

__all__ = ["room"]


@pytest.fixture(scope="module")
def lite() -> Grid:
    return load_grid("lite", DATASETS)


def test_names_are_stable_and_tables_share_runs(lite: Grid) -> None:
    for cell in (
        "mnist/vq_vae/default/seed0",
        "mnist/vq_vae/cosine/seed0",
        "cifar10/cvq_vae/closest-offline/seed0",
        "mnist/sq_vae/K1024/seed0",
        "mnist/cvq_vae/D4/seed0",
        "celeba_subset_64/vq_vae/vqgan-f8-critic1000-D4-epochs2-B8/seed0",
        "ffhq_subset_64/movq/default/seed0",
        "cifar10/cvq_vae/D2-l2/seed0",
        "cifar10/fsq/levels8.5.5.5/seed0",
        "cifar10/bsq/code_bits12/seed0",
        "cifar10/ddpm/conditional/seed0",
        "cifar10/ldm/cvq_vae-D4+conditional/seed0",
    ):
        assert cell in lite.cells
    tables = {"anchors", "code_dimension", "codebook_size", "components", "methods"}
    plan = plans.real("lite")
    assert list(plan.cells) == list(lite.cells)
    assert tables <= {*plan.tables_of("mnist/cvq_vae/default/seed0")}
    with pytest.raises(ConfigError, match="did you mean mnist/cvq_vae/closest/seed0"):
        plan.cell("mnist/cvq_vae/closets/seed0")


def test_settings_are_of_colour_role_and_method(lite: Grid) -> None:
    knobs: Mapping[str, Any] = lite.cells
    assert knobs["mnist/sq_vae/default/seed0"].sq_final_temperature == 0.21
    assert knobs["cifar10/sq_vae/default/seed0"].sq_final_temperature == 0.29
    assert knobs["mnist/vq_vae/default/seed0"].epochs == 16
    assert knobs["cifar10/vq_vae/default/seed0"].epochs == 8
    assert knobs["mnist/vq_vae/default/seed0"].distance == "l2"


def test_a_run_has_the_knobs_that_it_takes_and_no_others(lite: Grid) -> None:
    common = {"dataset", "method", "seed", "network", "codebook_size", "code_dim", "epochs"}
    common |= {"batch_size", "learning_rate", "precision", "train_images"}
    found = {name: {*knobs.model_dump()} for name, knobs in lite.cells.items()}
    stochastic = {"sq_initial_variance", "sq_final_temperature"}
    assert found["mnist/sq_vae/default/seed0"] == common | stochastic
    nearest = {"distance", "commitment_weight", "codebook_weight"}
    assert found["mnist/vq_vae/default/seed0"] == common | nearest
    for name, cell in plans.real("lite").cells.items():
        # What stands for a knob that an old record lacks.
        assert found[name] <= {*cell.defaults, *IDENTITY}


def test_a_diffusion_model_and_its_first_stage_share_a_seed(lite: Grid) -> None:
    cells = plans.real("lite").cells.items()
    below = {name: cell.first_stage for name, cell in cells if cell.first_stage}
    assert {lite.cells[name].stage for name in below} == {1, 2}
    for name, first in below.items():
        assert first in lite.cells
        # Quantisers are trained alone on the same latents, whatever their seed.
        seed = name.rpartition("/")[2] if lite.cells[name].stage == 2 else "seed0"
        assert first.rpartition("/")[2] == seed


def test_a_quantiser_alone_has_its_own_length_and_is_measured_by_its_table(lite: Grid) -> None:
    """Large codebooks are trained for fewer steps and one seed."""
    rows: dict[str, list[str]] = {}
    for row in lite.rows:
        if row.table == "frozen_latents" and row.row.startswith("CVQ-VAE closest (l2)"):
            rows.setdefault(row.row.rpartition(" ")[2], []).append(row.cell)
    assert {size: len(cells) for size, cells in rows.items()} == {
        **{"512": 3, "1024": 3, "4096": 3},
        **{"8192": 1, "16384": 1},
    }
    knobs: dict[str, Any] = {name: lite.cells[cells[0]] for name, cells in rows.items()}
    assert rows["512"][0] == "cifar10/cvq_vae/frozen-l2-closest/seed0"
    assert (knobs["512"].epochs, knobs["512"].batch_size) == (11, 1024)
    assert (knobs["8192"].epochs, knobs["8192"].codebook_size) == (4, 8192)
    planned = plans.real("lite").cells
    metrics = ["PSNR", "error", "perplexity", "usage"]
    assert planned[rows["512"][0]].evaluation.metrics == metrics
    assert planned["cifar10/cvq_vae/default/seed0"].evaluation.metrics is None


def test_a_budget_may_show_some_rows_of_a_table(room: Path) -> None:
    rows = {"table_rows": {"anchors": ["random, online", "closest, online"]}}
    spoil(room / "budgets/lite.yaml", rows)
    grid = load_grid("lite", DATASETS, room)
    assert grid.labels("anchors") == rows["table_rows"]["anchors"]
    assert {row.row for row in grid.rows if row.table == "anchors"} == {*grid.labels("anchors")}
    assert len(grid.labels("anchors", every=True)) == 8
    # Claims about the rows that are left out stay, untested.
    assert make_plan(grid, DATASETS, {}, room=room).claims


def test_guidance_is_of_models_that_know_classes(room: Path) -> None:
    """Whether an experiment or a row conditions them; the others do without."""
    knobs = {**GENERATION["knobs"], "guidance": 1.5, "label_dropout": 0.1}
    churches = {"churches": {"guidance": 1.0, "label_dropout": 0.0}}
    spoil(room / "budgets/lite.yaml", generation(knobs=knobs, role_knobs=churches))
    rows = [
        {"row": "a", "method": "ddpm", "conditional": True},
        {"row": "b", "method": "ddpm", "conditional": True, "guidance": 7.5},
    ]
    table = {"rows": rows, "roles": ["objects"], "conditional": []}
    spoil(room / "experiments/generation_ffhq_imagenet.yaml", table)
    cells = load_grid("lite", DATASETS, room).cells
    guidance = {name: getattr(knobs, "guidance", None) for name, knobs in cells.items()}
    assert guidance["cifar10/ddpm/conditional/seed0"] == 1.5
    assert guidance["cifar10/ddpm/conditional-guidance7.5/seed0"] == 7.5
    assert guidance["buildings_64/ddpm/default/seed0"] == 1.0


def test_published_settings_are_of_the_dataset_and_the_method() -> None:
    """VQGAN's critic begins at 250,001 for ImageNet, also below what generates it."""
    cells: Mapping[str, Any] = load_grid("paper", DATASETS).cells
    begins = {(k.dataset, getattr(k, "adversarial_start", None)) for k in cells.values()}
    assert {("imagenet", 250001), ("ffhq", 30001)} <= begins
    assert ("imagenet", 30001) not in begins
    # What latent diffusion has on a dataset is of models of latents.
    latent = cells["lsun_churches/ldm/cvq_vae-vqgan-f8-K16384-D4-epochs150/seed0"]
    assert (latent.noise_end, latent.diffusion_loss) == (0.0155, "l1")
    pixels = [knobs for knobs in cells.values() if knobs.method == "ddpm"]
    assert {(knobs.noise_end, knobs.diffusion_loss) for knobs in pixels} == {(0.02, "l2")}


STEPS = [4, 20, 50, 200, 250]


def test_the_budgets_take_these_numbers_of_steps() -> None:
    grids = [load_grid(budget, DATASETS) for budget in read_budgets()]
    knobs = [k for grid in grids for k in grid.cells.values() if isinstance(k, Diffusion)]
    assert {(k.sampling_steps, k.noise_steps) for k in knobs} == {(n, 1000) for n in STEPS}


@pytest.mark.parametrize("steps", STEPS)
def test_sampling_begins_at_the_last_of_its_steps(steps: int) -> None:
    """Sampling begins T / n - 1 steps before the last time, where the image is all noise.

    steps: the numbers of the project's budgets.
    """
    pytest.importorskip("diffusers")
    noise = {"sampling_steps": steps, "noise_steps": 1000}
    knobs = typed({**DIFFUSION, **noise, "method": "ddpm"})
    assert diffusion_process(knobs).denoising().timesteps[0] == 1000 - 1000 // steps + 1


def test_a_table_can_have_more_seeds(room: Path) -> None:
    """A run that other tables show too is trained for every seed that one of them has."""
    spoil(room / "budgets/lite.yaml", {"seeds": [0], "table_seeds": {"methods": [0, 1]}})
    grid = load_grid("lite", DATASETS, room)
    seeds = {(row.table, row.cell.rpartition("/")[2]) for row in grid.rows}
    assert {seed for table, seed in seeds if table == "methods"} == {"seed0", "seed1"}
    assert {seed for table, seed in seeds if table == "anchors"} == {"seed0"}
    of_seed_1 = {row.table for row in grid.rows if row.cell == "cifar10/cvq_vae/default/seed1"}
    assert of_seed_1 == {"methods"}


@pytest.mark.parametrize(("name", "method"), [("knobs", "ddpm"), ("first_stage", "movq")])
def test_of_groups_of_settings_the_nearest_one_counts(room: Path, name: str, method: str) -> None:
    """The budget's, a role's, a method's, those of a role and a method, or a network."""
    of_role = {f"role_{name}": {"objects": {"epochs": 7}}}
    groups = {**of_role, f"method_{name}": {method: {"epochs": 8}}}
    key, nearest = ("network", "vqgan") if name == "first_stage" else ("method", method)
    both = {f"role_{key}_{name}": {"objects": {nearest: {"epochs": 9}}}}
    plain = {key: {} for key in GENERATION if key.startswith(("role_", "method_"))}
    plain["first_stage"] = {"code_dim": 4}
    for asked, epochs in ((of_role, 7), (groups, 8), (groups | both, 9)):
        spoil(room / "budgets/lite.yaml", generation(**{**plain, **asked}))
        knobs = load_grid("lite", DATASETS, room).cells.values()
        of_method = [one for one in knobs if (one.dataset, one.method) == ("cifar10", method)]
        assert {one.epochs for one in of_method} == {epochs}


def test_a_name_says_the_value() -> None:
    for knob, value, name in (
        ("contrastive", True, "contrastive"),
        ("contrastive", False, "no_contrastive"),
        ("train_images", None, "Nall"),
        ("unet_multipliers", [1, 2, 4], "levels1.2.4"),
        ("learning_rate", 0.0003, "lr0.0003"),
        ("of_a_new_method", 3, "of_a_new_method3"),
    ):
        assert variant({knob: value}, {knob: "another"}) == name


def test_every_value_of_a_knob_has_a_name_of_its_own() -> None:
    """Two knobs of one slug would give two runs the same name."""
    types = [knobs_type(name, net) for name, about in METHODS.items() for net in about.networks]
    for kind in (*types, *(about.knobs for about in GENERATORS.values())):
        slugs = [SLUGS[name] for name in kind.model_fields if name in SLUGS]
        words = [slug for slug in slugs if slug != "{}"]
        assert len(words) == len(set(words)), kind


def test_a_table_may_have_more_protocols_than_others(lite: Grid) -> None:
    assert lite.protocols_of("methods") == ["exact", "as_published"]
    assert lite.protocols_of("anchors") == ["as_published"]
    assert lite.protocols_of("generation_lsun") == ["samples"]
    # A cell is measured in the protocols of all tables that show it.
    planned = plans.real("lite").cells
    both = ["as_published", "exact"]
    assert planned["mnist/cvq_vae/default/seed0"].evaluation.protocols == both
    assert planned["mnist/cvq_vae/random/seed0"].evaluation.protocols == ["as_published"]


def test_a_length_is_so_many_times_the_budgets_own_steps(lite: Grid) -> None:
    """48,000 images in 8 epochs; the run of length 1 is that of the table of methods."""
    lengths = {row.row: row.cell for row in lite.rows if row.table == "training_length"}
    knobs = {row.rpartition(" ")[2]: lite.cells[cell] for row, cell in lengths.items()}
    sizes = {length: (one.epochs, one.train_images) for length, one in knobs.items()}
    assert sizes == {"1/16": (1, 24000), "1/4": (2, None), "1": (8, None), "4": (32, None)}
    assert lengths["CVQ-VAE, length = 1"] == "cifar10/cvq_vae/default/seed0"
    assert of_length("1/2", {"epochs": 3, "train_images": 100}, 90) == {
        "epochs": 2,
        "train_images": 68,
    }
