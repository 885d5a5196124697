"""Real runs on a tiny grid: an edit makes again what it changes, in one run, and nothing else."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.tiny import (
    CELLS,
    ROOT,
    TARGETS,
    Tiny,
    copied,
    draw,
    make,
    snakemake,
    with_own_data,
)

LANGUAGES = ("python", "yaml")
MEASURED = f"results/tiny/cells/{CELLS[0]}/metrics.csv"
pytestmark = pytest.mark.slow(seconds=150)
# Loaded by every Python that has it on its path: nobody has an entry in the password file.
NOBODY = """
import pwd
def getpwuid(number):
    raise KeyError(number)
pwd.getpwuid = getpwuid
"""
BROKEN = """from __future__ import annotations

raise RuntimeError("the renderer is broken")
"""


def surroundings(folder: Path, tiny: Tiny) -> dict[str, str]:
    """An environment with another one's python first, and a user without home and name."""
    other, nobody = folder / "other", folder / "nobody"
    for made in (other, nobody):
        made.mkdir()
    (other / "python").write_text("#!/bin/sh\necho the other environment\nexit 1\n")
    (other / "python").chmod(0o755)
    (nobody / "sitecustomize.py").write_text(NOBODY)
    # Too long a name for a socket in it.
    temporary = folder / ("t" * 120)
    temporary.mkdir()
    return {
        "PATH": f"{other}:/usr/bin:/bin",
        "HOME": "/proc/nobody",
        # Snakemake's cache, which it makes before it reads the Snakefile.
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(nobody),
        "TMPDIR": str(temporary),
        "CODEBOOK_DATA": str(tiny.data),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Snakemake has finished a tiny grid. The clone's path has a space and a quote, and Snakemake
    was started in another folder.
    """
    folder = tmp_path_factory.mktemp("edits")
    tiny = make(folder / "it's the first")
    place = ("--snakefile", str(tiny.root / "Snakefile"), "--directory", str(tiny.root))
    done = subprocess.run(
        [sys.executable, *snakemake(*place)],
        cwd=folder,
        env=surroundings(folder, tiny),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 cells from records, 2 to make" in done.stdout
    tiny.settled()
    assert sorted(tiny.models()) == sorted(CELLS)
    return tiny


@pytest.fixture
def tiny(finished: Tiny, tmp_path: Path) -> Tiny:
    """A copy of it to edit."""
    return copied(finished, tmp_path / "copy")


def test_a_file_of_a_finished_cell_is_refused_in_one_line_with_what_to_do(finished: Tiny) -> None:
    done = finished.call("--dry-run", targets=(MEASURED,))
    assert done.returncode == 1
    message = f"{CELLS[0]} is finished, so this run makes none of its files; to train the cell "
    assert f"{message}again: make cell BUDGET=tiny CELL={CELLS[0]}\n" in done.stdout
    assert "Traceback" not in done.stdout
    # What makes nothing is not refused.
    finished.run("--unlock", targets=(MEASURED,))


def test_records_without_models_count_as_finished(finished: Tiny, tmp_path: Path) -> None:
    fresh = copied(finished, tmp_path / "fresh", "model.safetensors", ".snakemake")
    shutil.rmtree(fresh.root / ".cache/datasets")
    before = fresh.models()
    fresh.done("all_cells")
    # Whether the other cell's record fits is known when the images are prepared.
    again = fresh.call(targets=("all_cells",), config=(f"retrain={CELLS[1]}",))
    assert again.returncode == 0, again.stdout
    line = r"1 cell from records \(commit [^)]+\), 1 to make; --config retrain=true makes all"
    assert re.search(line, again.stdout)
    after = fresh.models()
    assert after[CELLS[0]] == before[CELLS[0]]
    assert after[CELLS[1]][0] == before[CELLS[1]][0]
    assert after[CELLS[1]][1] > before[CELLS[1]][1]
    assert f"Evaluate {CELLS[0]}" not in again.stdout
    fresh.done("all_cells")


def test_code_of_the_same_version_makes_nothing_again(tiny: Tiny) -> None:
    """A renamed variable, a comment and a module of another name."""
    blends, loop = "models/quantiser/blends.py", "workflows/training/loop.py"
    tiny.edit(
        blends, "counts = count(codes, len(self.usage))", "hits = count(codes, len(self.usage))"
    )
    tiny.edit(blends, "add_(counts / len(codes)", "add_(hits / len(codes)")
    tiny.edit(loop, "def steps_per_epoch(", "# A comment.\ndef steps_per_epoch(")
    room = tiny.root / "models/quantiser"
    (room / "blends.py").rename(room / "mixes.py")
    for file in [*room.glob("*.py"), tiny.root / "workflows/registry.py"]:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("quantiser.blends", "quantiser.mixes"), encoding="utf-8")
    tiny.settled()


def test_a_table_that_cannot_be_drawn_leaves_its_files_as_they_were(tiny: Tiny) -> None:
    """As those of lite, which are committed. Snakemake deletes the outputs of a job first."""
    folder = tiny.root / "results/tiny/tables"
    before = {file: file.read_bytes() for file in folder.iterdir() if file.suffix != ".md"}
    (folder / "methods.md").unlink()
    tiny.edit("workflows/render/tables.py", "from __future__ import annotations\n", BROKEN)
    done = tiny.call(targets=("results/tiny/tables/methods.md",))
    assert done.returncode != 0
    assert "the renderer is broken" in done.stdout
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_versions_and_touched_images(tiny: Tiny) -> None:
    """A method's version trains its cells again, those of protocols and metrics measure all cells
    again, and images that only have another time are prepared again and train nothing.
    """
    before = tiny.models()
    entry = '"vq_vae": Method(_vq_vae, Nearest, '
    tiny.edit("workflows/registry.py", entry, f"{entry}version=2, ")
    tiny.edit("workflows/protocols/exact.yaml", "version: 1", "version: 2")
    tiny.commit()
    planned = tiny.run("--dry-run", targets=("all_cells",))
    assert re.findall("Train (.*)", planned) == [CELLS[1]]
    assert sorted(re.findall("Evaluate (.*)", planned)) == sorted(CELLS)

    tiny = with_own_data(tiny)
    for file in (tiny.data / "squares").iterdir():
        os.utime(file)
    tiny.edit("workflows/metrics/__init__.py", '"rFID": 1,', '"rFID": 2,')
    tiny.commit()
    assert "Prepare the images of own" in tiny.run()
    after = tiny.models()
    assert after[CELLS[0]] == before[CELLS[0]]
    assert after[CELLS[1]][1] > before[CELLS[1]][1]
    for cell in CELLS:
        record = tiny.record(cell, "evaluation.json")
        assert record["versions"]["exact"] == record["versions"]["rFID"] == 2
    references = sorted(file.name for file in tiny.root.glob(".cache/reference/own/*"))
    assert references == ["test-exact-v1.1-4.safetensors", "test-exact-v2.2-4.safetensors"]
    tiny.settled()


def test_other_pixels_of_the_same_name_train_again(tiny: Tiny) -> None:
    tiny = with_own_data(tiny)
    before = tiny.models()
    draw(tiny.data / "squares", "003.png", 1003)
    tiny.run(targets=(MEASURED,))
    after = tiny.models()
    assert after[CELLS[0]][0] != before[CELLS[0]][0]
    left = tiny.run("--dry-run", targets=("all_cells",))
    assert re.findall("Train (.*)", left) == [CELLS[1]]
    assert re.findall("Evaluate (.*)", left) == [CELLS[1]]


def test_a_plug_in_trains_its_cell_and_no_other(tiny: Tiny, tmp_path: Path) -> None:
    """The README's example, from a folder outside the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Compare your own")[1]
    (module,), (table,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.S) for kind in LANGUAGES)
    scratch, before = tmp_path / "scratch", tiny.models()
    (scratch / "my_rows").mkdir(parents=True)
    (scratch / "my_module.py").write_text(module, encoding="utf-8")
    (scratch / "my_rows/my_table.yaml").write_text(table, encoding="utf-8")
    place = ("--snakefile", str(tiny.root / "Snakefile"), "--directory", str(tiny.root))
    config = ("plugins=my_module", "experiments=my_rows")
    targets = (*TARGETS, "results/tiny/tables/my_table.md")

    def run(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *snakemake(*place, *options, targets=targets, config=config)],
            cwd=scratch,
            env={**tiny.environment(), "PWD": str(scratch)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    code, said = run()
    assert code == 0, said[-3000:]
    mine = "own/my_fsq/default/seed0"
    after = tiny.models()
    assert {name: after[name] for name in CELLS} == before
    assert set(after) == {*CELLS, mine}
    versions = tiny.record(mine)["versions"]
    assert versions["plugin"] == hashlib.sha256(module.encode()).hexdigest()[:12]
    drawn = (tiny.root / "results/tiny/tables/my_table.md").read_text(encoding="utf-8")
    assert re.search(r"\| My FSQ +\| +[0-9.]+ \|", drawn), drawn

    (scratch / "my_module.py").write_text(f"{module}# edited\n", encoding="utf-8")
    code, said = run("--dry-run")
    assert code == 0, said
    assert re.findall("Train (.*)", said) == [mine]
    (scratch / "my_module.py").write_text(module.replace("METHODS", "METHOD"), encoding="utf-8")
    code, said = run()
    assert code != 0
    assert f"{scratch}/my_module.py: METHODS: missing or empty; allowed: a mapping" in said
    assert "Traceback" not in said
