"""What Snakemake would make, of what, and when it would make it again."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.place import Done, Place, copy_tree
from workflows import provenance
from workflows.provenance import templates

BUDGET = "smoke"
TABLE = f"results/{BUDGET}/tables/anchors.md"
# Made of all tables, figures and verdicts.
SITE = f"results/{BUDGET}/site"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the repository without results."""
    root = tmp_path_factory.mktemp("workflow") / "copy"
    copy_tree(root)
    return Place(root)


def ask(place: Place, *targets: str, options: tuple[str, ...] = ("--dry-run",)) -> Done:
    """Snakemake's answer to a request for files of the smoke budget; nothing is trained."""
    command = [str(place.root / ".venv/bin/snakemake"), "--cores", "1", *options]
    config = ["--config", f"budget={BUDGET}", "so_far=true"]
    return place.command_here([*command, *config, "--", *targets])


def jobs(place: Place, *targets: str) -> dict[str, dict[str, Any]]:
    """What runs for those files where nothing is made yet, by its message."""
    command = [sys.executable, "-m", "tests.slurm.planned", "--cores", "1", "--forceall"]
    config = ["--config", f"budget={BUDGET}", "so_far=true"]
    done = place.command_here([*command, *config, "--", *targets])
    assert done.status == 0, done.said
    found = [json.loads(line) for line in done.said.splitlines() if line.startswith("{")]
    return {job["message"]: job for job in found}


def test_labels_can_be_asked_for(place: Place) -> None:
    done = ask(place, ".cache/datasets/mnist_5k/labels.npy")
    assert done.status == 0, done.said
    assert done.says("Job 0: Prepare the images of mnist_5k")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            f"figures/{BUDGET}/reconstruction.svg",
            "no figure 'reconstruction'; did you mean reconstructions, ",
        ),
        (f"figures/{BUDGET}/samples_lsun.gif", "no animation 'samples_lsun'; allowed: codevectors"),
        (f"results/{BUDGET}/tables/anchor.md", "no table 'anchor'; did you mean anchors? "),
        (".cache/datasets/mnst/dataset.json", "no dataset 'mnst'; did you mean mnist, "),
    ],
)
def test_a_mistyped_target_is_refused_by_name(place: Place, target: str, said: str) -> None:
    done = ask(place, target)
    assert done.status == 1
    assert done.says(said, "allowed: ")
    assert "KeyError" not in done.said


@pytest.fixture(scope="module")
def made(place: Place) -> Place:
    """The same with a table of what is measured, which is nothing."""
    done = ask(place, TABLE, options=())
    assert done.status == 0, done.said
    assert "Nothing to be done" in ask(place, TABLE).said
    return place


@pytest.fixture
def edited(made: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The same with a line more in one file, in its place; it goes again."""
    file = made.root / request.param
    kept = file.read_text(encoding="utf-8")
    with file.open("a", encoding="utf-8") as handle:
        handle.write("\n")
    yield made
    file.write_text(kept, encoding="utf-8")


@pytest.mark.parametrize(
    "edited",
    ["results/published/anchors.csv", "workflows/render/templates/document.html"],
    indirect=True,
)
def test_a_table_is_made_again_for_what_it_is_made_of(edited: Place) -> None:
    assert ask(edited, TABLE).says("Table anchors")


@pytest.fixture(scope="module")
def shown(place: Place) -> dict[str, dict[str, Any]]:
    """The jobs that show numbers, by their messages."""
    found = jobs(place, SITE)
    showing = {m: job for m, job in found.items() if m.startswith(("Table", "Judge", "Site"))}
    assert len(showing) == 12 + 1 + 1
    return showing


def test_published_numbers_are_taken_file_by_file(
    place: Place, shown: dict[str, dict[str, Any]]
) -> None:
    files = (place.root / "results" / "published").glob("*.csv")
    published = {str(file.relative_to(place.root)) for file in files}
    assert len(published) > 4
    for message, job in shown.items():
        assert published <= set(job["inputs"]), message


def test_what_is_filled_into_templates_knows_them(shown: dict[str, dict[str, Any]]) -> None:
    for message, job in shown.items():
        room = "workflows.render" + (".site" if message.startswith("Site") else "")
        assert job["params"]["templates"] == templates(room), message


@pytest.mark.parametrize("package", ["workflows.render", "workflows.render.site"])
def test_a_digest_is_of_every_template(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = templates(package)
    name = Path(*package.split("."), "templates")
    shutil.copytree(provenance.ROOT / name, tmp_path / name)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert templates(package) == whole
    files = list((tmp_path / name).iterdir())
    assert files
    seen = {whole}
    for file in files:
        kept = file.read_bytes()
        file.write_bytes(kept + b" ")
        seen.add(templates(package))
        file.write_bytes(kept)
    (tmp_path / name / "more.html").write_text("")
    assert len(seen | {templates(package)}) == 1 + len(files) + 1
