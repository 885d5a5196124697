"""A user's own methods and tables: found, known by their digest, refused by file and key."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import TypeAdapter, create_model

from workflows import plugins, registry
from workflows.config.datasets import read_datasets
from workflows.config.experiments import Experiment
from workflows.config.grid import ROOM, load_grid
from workflows.config.reading import read_yaml
from workflows.config.settings import _some_of
from workflows.errors import ConfigError
from workflows.knobs import Nearest, Training
from workflows.plugins import EXPERIMENTS, PLUGINS
from workflows.registry import METHODS, Method, training_versions

MODULE = """
from workflows.knobs import Continuous
from workflows.registry import Method

METHODS = {"mine": Method(lambda knobs, steps: None, Continuous, codes=lambda knobs: None)}
"""
ROWS = [{"row": "Mine", "method": "vq_vae", "epochs": 3}]
TABLE = {
    **{"title": "Mine", "caption": "Mine", "roles": ["natural"], "metrics": ["PSNR"]},
    "rows": ROWS,
}


def plug_in(folder: Path, text: str = MODULE, name: str = "my_module.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of experiments that every grid reads."""
    folder = tmp_path / "my_rows"
    folder.mkdir()
    monkeypatch.setenv(EXPERIMENTS, str(folder))
    return folder


def write(file: Path, content: Any) -> None:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


def grid() -> Any:
    return load_grid("smoke", read_datasets())


def test_what_a_run_names_is_found_from_the_shells_folder_and_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell, on_path = tmp_path / "shell", tmp_path / "path"
    mine, other = plug_in(shell / "a"), plug_in(on_path, name="other.py")
    package = plug_in(shell / "package", name="__init__.py")
    (shell / "my_rows").mkdir()
    monkeypatch.syspath_prepend(on_path)
    said = {"plugins": f"a/my_module,package, other,{mine}", "experiments": "my_rows"}
    found = plugins.variables(said, {"PWD": str(shell)})
    assert found[PLUGINS] == os.pathsep.join(map(str, (mine, package, other, mine)))
    assert found[EXPERIMENTS] == str(shell / "my_rows")
    # Where a shell's folder is not known, the present one counts. Nothing said changes nothing.
    monkeypatch.chdir(shell)
    assert plugins.variables({"plugins": "a/my_module.py"}, {}) == {PLUGINS: str(mine)}
    assert plugins.variables({"budget": "smoke"}, {PLUGINS: "given"}) == {}
    for key, message in (
        ("plugins", f"plugins: no module 'absent' in {shell} or on .* allowed: the name of a mod"),
        ("experiments", f"experiments: {shell}/absent: no such folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            plugins.variables({key: "absent"}, {"PWD": str(shell)})


def test_a_method_is_known_by_the_digest_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plug_in(tmp_path)
    monkeypatch.setenv(PLUGINS, str(file))
    mine = plugins.methods(Method, METHODS)["mine"]
    digest = hashlib.sha256(MODULE.encode()).hexdigest()[:12]
    assert mine.plugin == digest
    monkeypatch.setitem(registry.METHODS, "mine", mine)
    content = {
        **{"dataset": "mnist", "method": "mine", "seed": 0, "epochs": 1, "batch_size": 2},
        **{"learning_rate": 1e-3, "precision": "fp32", "train_images": None, "code_dim": 2},
    }
    knobs = registry.parse_knobs(content)
    assert training_versions(knobs)["plugin"] == digest
    # A job of a run that began before an edit.
    registry.refuse_edited_plugin(knobs, {"plugin": digest})
    with pytest.raises(ConfigError, match="'mine': its plug-in was edited; start a new run"):
        registry.refuse_edited_plugin(knobs, {"plugin": "0" * 12})
    assert "plugin" not in training_versions(next(iter(grid().cells.values())))
    # Of a package every module counts.
    package = plug_in(tmp_path / "p", "from .inner import METHODS", "__init__.py")
    plug_in(tmp_path / "p", MODULE, "inner.py")
    monkeypatch.setenv(PLUGINS, os.pathsep.join(map(str, (file, package))))
    with pytest.raises(ConfigError, match=r"__init__\.py: METHODS: 'mine' is taken"):
        plugins.methods(Method, ())
    monkeypatch.setenv(PLUGINS, str(package))
    before = plugins.methods(Method, ())["mine"].plugin
    plug_in(tmp_path / "p", f"{MODULE}#", "inner.py")
    assert plugins.methods(Method, ())["mine"].plugin not in (before, digest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("METHODS = {", r"cannot be imported \(SyntaxError: "),
        (
            "import nothing_at_all",
            r"cannot be imported \(ModuleNotFoundError: No module named 'not",
        ),
        ("METHOD = 1", "METHODS: missing or empty; allowed: a mapping of names to workflows.regi"),
        ("METHODS = {}", "METHODS: missing or empty"),
        ("METHODS = {'mine': print}", "METHODS: 'mine' is <built-in function print>; allowed: a "),
        (
            MODULE.replace("Continuous", "dict").replace("knobs import dict", "knobs import Run"),
            "METHODS: 'mine' is Method.*; allowed: .* with knobs of workflows.knobs",
        ),
        (MODULE.replace('"mine"', '"cvq_vae"'), "METHODS: 'cvq_vae' is taken; choose another name"),
        (MODULE.replace('"mine"', '"My own"'), r"METHODS: 'My own' is not allowed; allowed: \[a-z"),
    ],
)
def test_a_wrong_module_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    file = plug_in(tmp_path, text)
    monkeypatch.setenv(PLUGINS, str(file))
    with pytest.raises(ConfigError, match=message) as error:
        plugins.methods(Method, METHODS)
    assert str(error.value).startswith(f"{file}: ")


def test_a_loss_without_a_weight_is_refused_by_name() -> None:
    weights = registry.loss_weights(next(iter(grid().cells.values())), 1)
    with pytest.raises(ConfigError, match=r"'cvq_vae': loss 'loss' has no weight; allowed: a "):
        weights["loss"]


def test_a_knob_of_a_plug_in_leaves_the_type_of_that_name_as_it_was() -> None:
    other = create_model("Other", __base__=Training, distance=(int, 3), code_dim=(str, "a"))
    both = TypeAdapter(Annotated[dict[str, Any], _some_of("Both", [Nearest, other])])
    assert both.validate_python({"distance": "l2", "code_dim": 2}) == {
        "distance": "l2",
        "code_dim": 2,
    }


def test_a_table_of_ones_own_and_rows_of_another_are_added(rows: Path) -> None:
    before = read_yaml(ROOM / "experiments/methods.yaml", Experiment)
    write(rows / "mine.yaml", TABLE)
    write(rows / "methods.yaml", {"rows": ROWS})
    made = grid()
    assert made.tables["methods"].rows[:-1] == before.rows
    assert made.tables["methods"].rows[-1].row == "Mine"
    cell = "photo_patches/vq_vae/epochs3/seed0"
    assert {row.table for row in made.rows if row.cell == cell} == {"methods", "mine"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine", {**TABLE, "rows": [{"row": "a", "method": "vq"}]}, "method: 'vq' is unknown; did"),
        (
            "mine",
            {**TABLE, "rows": [{"row": "a", "method": "vq_vae", "anchors": "random"}]},
            r"row 'a' \(vq_vae\) at .*anchors: unknown key",
        ),
        ("mine", {**TABLE, "role": []}, "role: unknown key; did you mean roles"),
        ("methods", TABLE, "title: unknown key; allowed: rows"),
        ("methods", {"rows": [{"row": "CVQ-VAE", "method": "cvq_vae"}]}, "two called 'CVQ-VAE'"),
        ("My table", TABLE, r"name: 'My table' is not allowed; allowed: \[a-z0-9_\]"),
    ],
)
def test_a_wrong_table_is_refused(rows: Path, name: str, content: Any, message: str) -> None:
    write(rows / f"{name}.yaml", content)
    with pytest.raises(ConfigError, match=message) as error:
        grid()
    assert str(error.value).startswith(f"{rows / name}.yaml: ")


def test_a_folder_without_tables_is_refused(rows: Path) -> None:
    with pytest.raises(ConfigError, match=r"my_rows: experiments: no file \*.yaml"):
        grid()
