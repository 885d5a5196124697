"""Bad input, each kind refused before anything runs, with file, key, value and what is allowed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from workflows.config.datasets import read_dataset, read_datasets, read_protocol
from workflows.config.grid import ROOM, load_grid, read_budgets
from workflows.config.plan import Spec
from workflows.config.planning import make_plan, read_claims
from workflows.config.reading import parse
from workflows.config.settings import RunConfig
from workflows.errors import ConfigError
from workflows.knobs import Closed
from workflows.records.run import Run

DATASETS = read_datasets()
LITE = yaml.safe_load((ROOM / "budgets" / "lite.yaml").read_text())
ROLES, GENERATION = LITE["roles"], LITE["generation"]
FOLDERS = ("budgets", "experiments", "claims", "datasets", "protocols")
BUDGET, MNIST = "budgets/lite.yaml", "datasets/mnist.yaml"
ANCHORS, LSUN = "experiments/anchors.yaml", "experiments/generation_lsun.yaml"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A copy of the configuration, to be spoilt."""
    for name in FOLDERS:
        shutil.copytree(ROOM / name, tmp_path / name)
    for name in ("defaults.yaml", "figures.yaml"):
        shutil.copy(ROOM / name, tmp_path)
    return tmp_path


def spoil(file: Path, change: dict[str, Any]) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**content, **change}), encoding="utf-8")


def generation(**change: Any) -> dict[str, Any]:
    return {"generation": {**GENERATION, **change}}


def evaluation(**change: Any) -> dict[str, Any]:
    return {"evaluation": {"protocols": ["exact"], "lpips_images": None, **change}}


def roles(**change: str) -> dict[str, Any]:
    return {"roles": {**ROLES, **change}}


def rows(**row: Any) -> dict[str, Any]:
    return {"rows": [{"row": "a", **row}]}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        # An unknown key, a wrong type, a value out of range.
        (BUDGET, {"seed": 1}, "seed: unknown key; did you mean seeds, "),
        (BUDGET, {"knobs": {"epoch": 3}}, "knobs.epoch: unknown key; did you mean epochs"),
        (BUDGET, {"knobs": {"epochs": 0}}, "epochs: 0 must be greater than or equal to 1"),
        (BUDGET, {"knobs": {"anchors": "near"}}, "knobs.anchors: 'near' is not allowed; did"),
        (BUDGET, {"seeds": [1, 1]}, "seeds: the values must differ"),
        # An unknown role, network, dataset, table, method, metric.
        (BUDGET, {"role_knobs": {"face": {}}}, "role 'face' is unknown; did you mean faces"),
        (BUDGET, roles(digits="mnits"), "roles.digits: dataset 'mnits' is unknown"),
        (BUDGET, {"roles": {"digits": "mnist"}}, "roles: natural, faces, .*missing"),
        (BUDGET, {"table_seeds": {"method": [0]}}, "table 'method' is unknown; did you mean meth"),
        (ANCHORS, {"metrics": ["FID"]}, "metrics: FID is not measured at stage 1; allowed: l1"),
        (LSUN, {"roles": ["digits"]}, "roles: digits is not generated; allowed: churches"),
        (ANCHORS, {"metrics": ["error"]}, "metrics: error is measured only on frozen latents"),
        (ANCHORS, {"at": {8: {"epochs": 1}}}, "at: 8 is no value of the sweep"),
        (BUDGET, {"roles": dict.fromkeys(ROLES)}, "roles: they leave no cell to train"),
        (
            ANCHORS,
            rows(method="vq_vae", dataset="mnist"),
            "row 'a': dataset: a row cannot set it; ",
        ),
        (ANCHORS, rows(method="vq_vae", seed=3), "row 'a': seed: a row cannot set it; allowed: "),
        # Rows: two of one name, a knob of another method, what does not go together.
        (ANCHORS, {"rows": [{"row": "a", "method": "vq_vae"}] * 2}, "there are two called 'a'"),
        (ANCHORS, rows(method="cvq_vae", anchor="random"), "anchor: unknown key; did you mean an"),
        (ANCHORS, rows(method="vq_vae", anchors="random"), r"\(vq_vae\) at .*anchors: unknown key"),
        (ANCHORS, rows(), "row 'a': method: the key is missing"),
        (ANCHORS, rows(method="movq", network="convnet"), "'movq' does not run in 'convnet'; "),
        (ANCHORS, rows(method="movq", code_dim=6), "code_dim: 6 is not a multiple of channel_gro"),
        (BUDGET, roles(photographs="ffhq_subset_64"), "roles: 'ffhq_subset_64' is both faces and"),
        (
            BUDGET,
            {**generation(first_stage={"code_dim": 4}), "role_knobs": {"natural": {"epochs": 7}}},
            "role_knobs or generation: cell 'cifar10/vq_vae/D4/seed0' is already another run",
        ),
        # Diffusion models.
        (LSUN, rows(method="ddpm", first_stage="vq_vae"), "method 'ddpm' takes none"),
        (LSUN, rows(method="ldm"), "first_stage: method 'ldm' needs one"),
        (
            LSUN,
            rows(method="autoregressive", first_stage="kl_autoencoder"),
            "first_stage: method 'autoregressive' cannot model 'kl_autoencoder'; allowed: vq_vae, ",
        ),
        (
            LSUN,
            rows(method="rq_transformer", first_stage="movq"),
            "first_stage: method 'rq_transformer' cannot model 'movq'; allowed: rq_vae",
        ),
        (LSUN, rows(method="ddpm", guidance=2.0), "guidance: 2.0 needs a conditional model"),
        (LSUN, rows(method="ddpm", sampling_steps=600), "600 does not divide noise_steps: 1000"),
        (LSUN, rows(method="ddpm", head_channels=97), "head_channels: 97 is more than the 96"),
        (LSUN, {"conditional": ["churches"]}, "buildings_64.yaml: classes: the dataset has no"),
        (
            BUDGET,
            generation(role_knobs={"churches": {"unet_channels": 136, "unet_multipliers": [1, 2]}}),
            "unet_channels: 136 makes levels of 136, 272 channels",
        ),
        # Too few images for a metric.
        (BUDGET, generation(reference_images=3), "reference_images: 3 must be greater than or eq"),
        (BUDGET, generation(knobs={"samples": 7}), "samples: 7 must be greater than or equal to 8"),
        (BUDGET, evaluation(fid_images=1), "fid_images: 1 must be greater than or equal to 2"),
        (MNIST, {"images": {"train": 60000, "test": 1}}, "images.test: 1 must be greater than "),
        (
            "datasets/buildings_64.yaml",
            {"images": {"train": 103, "test": 100}, "validation": 100},
            "images.train: 103 leaves 3 to train on, and the metrics of samples need 4 or more",
        ),
        (
            BUDGET,
            {"table_rows": {"anchors": ["closest"]}},
            r"table_rows\.anchors: row 'closest' is unknown",
        ),
        # Images of a size that a network does not take.
        (MNIST, {"image_size": 50}, "image_size: 50 is not a multiple of 4, as network 'convnet'"),
        (
            "datasets/ffhq_subset_64.yaml",
            {"image_size": 28},
            "28 is too small for perceptual_network 'alex', which needs 31; allowed: vgg",
        ),
    ],
)
def test_configuration_is_refused_by_file_and_key(
    room: Path, file: str, change: dict[str, Any], message: str
) -> None:
    spoil(room / file, change)
    with pytest.raises(ConfigError, match=message) as error:
        load_grid("lite", read_datasets(room), room)
    assert str(room / file) in str(error.value)


def test_all_that_is_wrong_in_a_file_is_said_at_once_in_a_line_each(room: Path) -> None:
    spoil(room / BUDGET, {"seed": 1, "knobs": {"epochs": 0, "epoch": 1}, "without": 3})
    with pytest.raises(ConfigError) as error:
        load_grid("lite", DATASETS, room)
    lines = str(error.value).splitlines()
    keys = [line.removeprefix(f"{room / BUDGET}: ").partition(": ")[0] for line in lines]
    assert sorted(keys) == ["knobs.epoch", "knobs.epochs", "seed", "without"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\ntitle: b\n", "key 'title' is there twice"),
        ("title: [\n", "not YAML"),
        ("- 1\n", "expected a mapping"),
        ("title: \udcff", "not UTF-8"),
    ],
)
def test_a_file_that_means_two_things_or_nothing_is_refused(
    room: Path, text: str, message: str
) -> None:
    (room / BUDGET).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        load_grid("lite", DATASETS, room)


def test_a_number_with_an_exponent_needs_no_point(room: Path) -> None:
    text = (room / BUDGET).read_text()
    (room / BUDGET).write_text(text.replace("knobs: {epochs: 8,", "knobs: {learning_rate: 1e-3,"))
    grid = load_grid("lite", DATASETS, room)
    assert grid.cells["cifar10/cvq_vae/default/seed0"].learning_rate == 0.001


def test_hidden_files_are_ignored(room: Path) -> None:
    """An editor's lock is a link to nothing, and a Mac writes what is no YAML."""

    def read() -> tuple[Any, ...]:
        grid = load_grid("lite", DATASETS, room)
        return grid, read_datasets(room), read_budgets(room), read_claims(grid, room)

    before = read()
    for folder in FOLDERS:
        (room / folder / ".#mine.yaml").symlink_to("nobody@nowhere")
        (room / folder / "._mnist.yaml").write_bytes(b"\x00\xff")
    assert read() == before
    with pytest.raises(ConfigError, match=r"protocol '\.#mine' is unknown"):
        read_protocol(".#mine", room)
    with pytest.raises(ConfigError, match="budget 'lit' is unknown; did you mean lite"):
        load_grid("lit", DATASETS, room)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (BUDGET, "a b"),
        (BUDGET, "-x"),
        (ANCHORS, "A-B"),
        (MNIST, 'a"b'),
        (BUDGET, "published"),
    ],
)
def test_a_name_that_is_no_path_or_is_taken_is_refused(room: Path, file: str, name: str) -> None:
    bad = shutil.copy(room / file, (room / file).with_stem(name))
    with pytest.raises(ConfigError) as error:
        load_grid("lite", read_datasets(room), room)
    assert str(error.value).startswith(f"{bad}: name: '{name}' is ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": ["randon, online"]}, "of: row 'randon, online' is unknown; did you mean random"),
        ({"metrics": ["PSNR"]}, "metrics: 'PSNR' is unknown; .*allowed: SSIM"),
        ({"roles": ["faces"]}, "roles: 'faces' is unknown; allowed: digits, natural"),
        ({"than": []}, "than: kind 'better' needs rows"),
        ({"value": 0.5}, "value: kind 'better' takes none"),
        ({"kind": "rises", "than": []}, "'random, online' is not the name of a sweep"),
    ],
)
def test_claims_are_refused_by_name(room: Path, change: dict[str, Any], message: str) -> None:
    claim = {
        "id": "one", "claim": "So.", "standing": "stated", "source": "nobody", "roles": ["digits"],
        "metrics": ["rFID"], "kind": "better", "of": ["random, online"],
        "than": ["random, offline"], **change,
    }  # fmt: skip
    spoil(room / "claims" / "anchors.yaml", {"claims": [claim]})
    with pytest.raises(ConfigError, match=message) as error:
        make_plan(load_grid("smoke", DATASETS, room), DATASETS, {}, room=room)
    assert "anchors.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reader": "idy"}, "reader: reader 'idy' is unknown; did you mean idx"),
        ({"name": "other"}, "name: is 'other', must be the file's name"),
        ({"validation": 60000}, "validation: must be below images.train"),
        ({"sources": [{"kind": "local", "files": ["a"]}]}, "1 given, reader 'idx' takes 2"),
        (
            {"sources": [{"kind": "local", "files": ["../a", "b"]}]},
            "'../a' is no path",
        ),
        ({"options": {"pattern": "("}}, "pattern: not a regular expression"),
    ],
)
def test_datasets_are_refused_by_key(room: Path, change: dict[str, Any], message: str) -> None:
    spoil(room / MNIST, change)
    with pytest.raises(ConfigError, match=message):
        read_dataset("mnist", room)


SPEC: dict[str, Any] = {"budget": "lite", "cell": "c", "versions": {}, "knobs": {"method": "cvq"}}
ANCHORED = {"method": "vq_vae", "anchors": "random"}


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ({"budgte": "lite"}, RunConfig, "said: budgte: unknown key; did you mean budget"),
        ({"gpu": 2}, RunConfig, "said: gpu: '2' is not allowed; allowed: 0, 1"),
        ({"hours": 0}, RunConfig, "said: hours: 0 must be greater than or equal to 1"),
        (SPEC, Spec, "method: 'cvq' is unknown; did you mean cvq_vae"),
        ({**SPEC, "knobs": ANCHORED}, Spec, "anchors: unknown key"),
    ],
)
def test_what_is_said_of_a_run_or_a_step_is_refused_by_key(
    content: dict[str, Any], kind: type[Closed], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(content, kind, "said")


@pytest.mark.parametrize("said", ['mnist_5k/cvq_vae/closets/"', "no/such/cell", {"a": "b"}, None])
def test_a_run_refuses_a_cell_that_there_is_not(said: Any) -> None:
    """As Snakemake reads `retrain=...`, which is YAML to it."""
    with pytest.raises(ConfigError, match=r"cell '.*' is unknown; .*make cells lists all"):
        Run({"budget": "embedded", "retrain": said})


@pytest.mark.parametrize("cell", ['a"b', "a'b; touch here", "a`touch here`b/c", "", "#a"])
def test_make_hands_on_a_cell_as_it_was_given(tmp_path: Path, cell: str) -> None:
    said = tmp_path / "said"
    for name in ("snakemake", "python"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {said}\n")
        program.chmod(0o755)
    make = ["make", "--no-print-directory", "-f", ROOM.parent / "Makefile", "-o", ".venv/ready"]
    call = [*make, f"BIN={tmp_path}", "cell", f"CELL={cell}"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert not (tmp_path / "here").exists()
    if cell in ("", "#a"):
        assert done.returncode != 0
        assert done.stdout.startswith("Name a cell: make cell CELL=")
        return
    assert (done.returncode, done.stderr) == (0, "")
    lines = said.read_text().splitlines()
    assert {f"retrain={cell}", f"results/embedded/cells/{cell}/metrics.csv", cell} <= {*lines}
