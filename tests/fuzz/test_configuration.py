"""Configuration that is wrong in any way is refused by file and key, or means something sane."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.damage import JUNK, garbled, spoilt
from workflows import run_config, strict_yaml
from workflows.data import DataError, describe, names
from workflows.data.registry import DATASETS as DATASET_FILES
from workflows.grid import ROOM, Grid, budgets_by_role, budgets_by_table, load_grid
from workflows.planning import plan
from workflows.reading import load_yaml, validate
from workflows.render.plan import Plan
from workflows.schema import ConfigError
from workflows.verdicts import load_claims

DATASETS = {name: describe(name) for name in names()}
# Of each kind one that has most of what there is of it.
FILES = (
    "budgets/lite.yaml",
    "defaults.yaml",
    "experiments/code_dimension.yaml",
    "experiments/generation_ffhq_imagenet.yaml",
    "experiments/vqgan.yaml",
)
CLAIMS = ("claims/anchors.yaml", "claims/code_dimension.yaml", "claims/methods.yaml")
# What Snakemake's wildcards and a file system take.
CELL = re.compile(r"[a-z0-9_]+(/[A-Za-z0-9._+-]+){2}/seed[0-9]+")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the configuration; whoever spoils a file of it puts it back."""
    room = tmp_path_factory.mktemp("room")
    for name in ("budgets", "experiments", "claims"):
        shutil.copytree(ROOM / name, room / name)
    shutil.copy(ROOM / "defaults.yaml", room)
    return room


@pytest.fixture(scope="module")
def grid() -> Grid:
    return load_grid("lite", DATASETS)


class Plain(yaml.SafeDumper):
    """Writes what is there twice twice, without an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dumped(content: Any) -> str:
    return yaml.dump(content, Dumper=Plain, allow_unicode=True, sort_keys=False)


def refusal(kind: type[Exception], call: Callable[[], Any]) -> str | None:
    """How the project's own error refuses it, in one line; None if it does not."""
    try:
        call()
    except kind as error:
        said = str(error)
    else:
        return None
    assert "\n" not in said
    return said


def read(room: Path, claims_of: Grid | None = None) -> None:
    """Resolve the configuration and check what comes of it; the claims alone with a grid."""
    if claims_of is not None:
        for claim in load_claims(claims_of, room / "claims"):
            table = claims_of.tables[claim["table"]]
            assert set(claim["of"]) <= set(claims_of.labels(claim["table"], every=True))
            assert set(claim["metrics"]) <= set(table["metrics"])
        return
    found = load_grid("lite", DATASETS, room)
    for name, cell in found.cells.items():
        assert name == cell.id
        assert CELL.fullmatch(name), name
        validate(dict(cell.knobs), "cell" if cell.stage == 1 else "generation_cell", name)
        assert cell.first_stage is None or cell.first_stage in found.cells
    shown = [(row.table, row.row, row.role, row.cell) for row in found.rows]
    assert len(set(shown)) == len(shown)
    roles, tables = budgets_by_role(room), budgets_by_table(room)
    content = plan(found, "{cell}", DATASETS, {}, roles, tables, [])
    assert json.loads(json.dumps(content)) == content
    Plan.of(content)


def refused_by_name_or_sane(room: Path, file: str, text: str, grid: Grid | None = None) -> None:
    whole = (ROOM / file).read_text(encoding="utf-8")
    try:
        (room / file).write_bytes(text.encode("utf-8", "surrogatepass"))
        said = refusal(ConfigError, lambda: read(room, grid))
    finally:
        (room / file).write_text(whole, encoding="utf-8")
    # The file that was spoilt, or one that it does not go with.
    assert said is None or re.match(rf"{re.escape(str(room))}/\S+\.yaml: ", said), said


@given(data=st.data())
@pytest.mark.parametrize("file", FILES)
def test_spoilt_values(room: Path, file: str, data: st.DataObject) -> None:
    content = yaml.safe_load((ROOM / file).read_text())
    refused_by_name_or_sane(room, file, dumped(data.draw(spoilt(content))))


@given(data=st.data())
@pytest.mark.parametrize("file", CLAIMS)
def test_spoilt_claims(room: Path, grid: Grid, file: str, data: st.DataObject) -> None:
    content = yaml.safe_load((ROOM / file).read_text())
    refused_by_name_or_sane(room, file, dumped(data.draw(spoilt(content))), grid)


@given(data=st.data())
def test_garbled_text(room: Path, grid: Grid, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from([*FILES, *CLAIMS]))
    text = data.draw(garbled((ROOM / file).read_text()))
    refused_by_name_or_sane(room, file, text, grid if file in CLAIMS else None)


@given(data=st.data(), spoil=st.booleans())
def test_datasets(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, spoil: bool
) -> None:
    name = data.draw(st.sampled_from(["mnist", "celeba_64", "photo_patches", "imagenet"]))
    text = (DATASET_FILES / f"{name}.yaml").read_text()
    text = data.draw(spoilt(yaml.safe_load(text)).map(dumped) if spoil else garbled(text))
    folder = tmp_path_factory.mktemp("datasets")
    file = folder / f"{name}.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = refusal(DataError, lambda: describe(name, folder))
    if said is not None:
        assert said.startswith(f"{file}: "), said
        return
    dataset = describe(name, folder)
    assert dataset.name == name
    assert 0 < dataset.validation < dataset.images["train"]
    assert dataset.channels in (1, 3)
    assert all(type(count) is int for count in dataset.images.values())
    for source in dataset.sources:
        if source["kind"] == "local":
            assert (folder / source["files"][0]).resolve().is_relative_to(folder.resolve())


@given(st.dictionaries(st.one_of(st.sampled_from(run_config.KEYS), st.text()), JUNK))
def test_run_configuration(config: dict[str, Any]) -> None:
    def asked() -> None:
        run = run_config.read(config)
        load_grid(run.budget, DATASETS)
        assert isinstance(run.retrain, bool) or "/" in run.retrain

    said = refusal(ConfigError, asked)
    assert said.startswith("config: ") if said is not None else {*config} <= {*run_config.KEYS}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bugdet": "lite"}, "config: unknown key 'bugdet'; did you mean 'budget'"),
        ({"budget": None}, "config: budget: None is not the name of a budget"),
        (
            {"retrain": "perhaps"},
            "config: retrain: 'perhaps' is not allowed; allowed: true, false, the name of a cell",
        ),
    ],
)
def test_a_wrong_run_configuration_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_config.read(config)


def test_retrain_is_what_is_said() -> None:
    """As text, which is what Snakemake makes of `retrain=false`, it would count as true."""
    asked = ("false", "true", 0, 1, True, "mnist/vq_vae/default/seed0")
    assert [run_config.read({"retrain": said}).retrain for said in asked] == [
        *(False, True, False, True, True),
        "mnist/vq_vae/default/seed0",
    ]
    assert run_config.read({}) == run_config.RunConfig("embedded", False, False, 168)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"key 'a' is there twice in .* line 3, column 1"),
        ("1: a", "key 1 is not text"),
        ("a: &x 1\nb: *x", r"alias \*x is not allowed"),
        ("a: !!python/object/apply:os.system [b]", "tag tag:yaml.org,2002:python/.* not allowed"),
        ("[" * 100_000, "nested deeper than 24"),
        ("a: .nan", r"\.nan is no finite number"),
        ("a: 9223372036854775808", "does not fit 64 bits"),
        ('a: "\\ud800"', "unprintable character"),
        ("a: [1", "not YAML"),
    ],
)
def test_what_yaml_has_beside_plain_values_is_refused(text: str, message: str) -> None:
    with pytest.raises(strict_yaml.Unreadable, match=message):
        strict_yaml.parse(text)


def test_plain_values_are_read_as_they_stand() -> None:
    text = "a: 2024-13-45\nb: [1, 0.5, true, null, 'x']\nc: {<<: {d: 1}}\n"
    assert strict_yaml.parse(text) == {
        "a": "2024-13-45",
        "b": [1, 0.5, True, None, "x"],
        "c": {"<<": {"d": 1}},
    }


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lite.yaml"
    with pytest.raises(ConfigError, match=r"lite\.yaml: no such file"):
        load_yaml(file, None)
    file.write_bytes(b"title: \xff\n")
    with pytest.raises(ConfigError, match=r"lite\.yaml: not UTF-8 text .*byte 7"):
        load_yaml(file, None)
    file.write_text("a: " + "x" * 2**18)
    with pytest.raises(ConfigError, match=r"lite\.yaml: has 262147 bytes; at most 262144"):
        load_yaml(file, None)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match=r"lite\.yaml: unreadable"):
        load_yaml(file, None)
    with pytest.raises(DataError, match=r"lite\.yaml: unreadable"):
        describe("lite", tmp_path)


def spoil(file: Path, change: dict[str, Any]) -> None:
    file.write_text(dumped({**yaml.safe_load(file.read_text()), **change}))


ROW = {"row": "a", "method": "cvq_vae"}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("experiments/anchors.yaml", {"rows": [ROW, ROW]}, "rows: there are two called 'a'"),
        ("experiments/anchors.yaml", {"rows": [{**ROW, "dataset": "x"}]}, "unknown key 'dataset'"),
        ("experiments/anchors.yaml", {"rows": [{**ROW, "method": ["x"]}]}, "'a': method: "),
        ("experiments/anchors.yaml", {"rows": [{**ROW, "row": "a\nb"}]}, "rows.0.row: "),
        (
            "experiments/generation_lsun.yaml",
            {"rows": [{"row": "a", "method": "ddpm", "conditional": True}]},
            "conditional: dataset 'buildings_64' has no classes",
        ),
        ("budgets/lite.yaml", {"knobs": {"epochs": 2.0}}, "knobs: epochs: 2.0 is not of type int"),
        ("budgets/lite.yaml", {"seeds": [10**6 + 1]}, "seeds.0: "),
        ("budgets/lite.yaml", {"sweeps": {"code_dim": [4, 4]}}, "sweeps.code_dim: "),
        ("defaults.yaml", {"networks": {"convnet": {}}}, "networks: missing key 'vqgan'"),
        ("defaults.yaml", {"colour": {"epoch": 3}}, "colour: unknown key 'epoch'"),
        ("defaults.yaml", {"methods": {"sq_vae": {"epochs": -1}}}, "methods.sq_vae: epochs: -1 "),
    ],
)
def test_a_wrong_value_is_blamed_on_its_file_and_key(
    tmp_path: Path, file: str, change: dict[str, Any], message: str
) -> None:
    for name in ("budgets", "experiments"):
        shutil.copytree(ROOM / name, tmp_path / name)
    shutil.copy(ROOM / "defaults.yaml", tmp_path)
    spoil(tmp_path / file, change)
    with pytest.raises(ConfigError, match=message) as refused:
        load_grid("lite", DATASETS, tmp_path)
    assert str(refused.value).startswith(str(tmp_path / file))


def test_names_that_files_and_commands_do_not_take_are_refused(room: Path) -> None:
    for file, like in (("experiments/A table.yaml", "anchors"), ("budgets/my one.yaml", "lite")):
        shutil.copy(ROOM / Path(file).with_stem(like), room / file)
        try:
            with pytest.raises(ConfigError, match=f"{file}: a (table|budget)'s name has"):
                load_grid("my one" if "budget" in file else "lite", DATASETS, room)
        finally:
            (room / file).unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "better", "than": ["VQ-VAE, D = 4"]},
            "'CVQ-VAE' is [0-9] rows, of which better",
        ),
        ({"of": ["CVQ-VAE, D = 4"]}, "'CVQ-VAE, D = 4' is no row of a sweep; rises needs one"),
    ],
)
def test_a_claim_on_too_many_or_too_few_rows_is_refused(
    room: Path, grid: Grid, change: dict[str, Any], message: str
) -> None:
    claim = {
        "id": "more", "claim": "It gets better.", "standing": "stated", "source": "here",
        "roles": ["digits"], "metrics": ["SSIM"], "kind": "rises", "of": ["CVQ-VAE"],
    }  # fmt: skip
    content = {"title": "More", "table": "code_dimension", "claims": [{**claim, **change}]}
    file = room / "claims/zz_more.yaml"
    file.write_text(dumped(content))
    try:
        with pytest.raises(ConfigError, match=message) as refused:
            load_claims(grid, room / "claims")
        assert str(refused.value).startswith(str(file))
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mnist", {"channels": 1.0}, r"channels: 1\.0 is not of type integer"),
        ("mnist", {"sources": [{"kind": "local", "files": ["a"]}]}, "files: 1 given.* takes 2"),
        ("mnist", {"sources": [{"kind": "local", "files": ["a/../../b", "c"]}]}, "sources.0"),
        ("imagenet", {"options": {"pattern": "("}}, "options.pattern: not a regular expression"),
        (
            "lsun_churches",
            {"options": {"resize": True, "resample": "bicubik"}},
            "options.resample: 'bicubik' is not allowed; did you mean 'bicubic'.* lanczos, bicubic",
        ),
        ("ffhq", {"options": {"resample": "bicubic"}}, "options.resample: goes with options.res"),
        ("ffhq", {"options": {"labels": "folder"}}, "options.labels: goes with 'classes'"),
        ("ffhq", {"options": {"partition": "a.txt"}}, "files: 1 given, .*'image_folder' takes 2"),
    ],
)
def test_a_dataset_that_its_reader_cannot_take_is_refused(
    tmp_path: Path, name: str, change: dict[str, Any], message: str
) -> None:
    file = tmp_path / f"{name}.yaml"
    shutil.copy(DATASET_FILES / f"{name}.yaml", file)
    spoil(file, change)
    with pytest.raises(DataError, match=message) as refused:
        describe(name, tmp_path)
    assert str(refused.value).startswith(f"{file}: ")
