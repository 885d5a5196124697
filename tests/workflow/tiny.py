"""A copy of the repository whose grid is two cells of a dozen images, for real runs in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
BUDGET = "tiny"
CELLS = ("own/cvq_vae/default/seed0", "own/vq_vae/default/seed0")
# The second is made of all tables, too.
TARGETS = ("all_cells", f"results/{BUDGET}/measured.csv")
DATASET: dict[str, Any] = {
    "name": "own",
    "title": "Squares",
    "stand_in_for": None,
    "image_size": 16,
    "channels": 1,
    "licence": "none",
    "citation": "none",
    "reader": "image_folder",
    "options": {"shuffle": True},
    "sources": [{"kind": "local", "files": ["squares"]}],
    "images": {"train": 24, "test": 8},
    "validation": 8,
}
SETTINGS: dict[str, Any] = {
    "title": "tiny",
    "roles": {
        **{"digits": "own", "natural": "own", "faces": None, "photographs": None},
        **{"churches": None, "bedrooms": None, "portraits": None, "objects": None},
    },
    "seeds": [0],
    "knobs": {"epochs": 1, "batch_size": 8, "codebook_size": 8, "code_dim": 4},
    "evaluation": {"protocols": ["exact"], "fid_images": 4, "lpips_images": 4},
    "generation": {
        "first_stage": {},
        "knobs": {"epochs": 1},
        "reference_images": 8,
        "progress_samples": 4,
    },
}
EXPERIMENT: dict[str, Any] = {
    "title": "Two methods",
    "caption": "Two methods",
    "roles": ["digits"],
    "metrics": ["PSNR", "rFID", "usage"],
    "rows": [
        {"row": "VQ-VAE", "method": "vq_vae"},
        {"row": "CVQ-VAE", "method": "cvq_vae"},
    ],
}


@dataclass(frozen=True)
class Tiny:
    """root: the copy. data: what CODEBOOK_DATA names."""

    root: Path
    data: Path

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the files that people write, below workflows/."""
        text = yaml.safe_dump(dict(content), sort_keys=False)
        (self.root / "workflows" / name).write_text(text, encoding="utf-8")

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace a text that a file has, once."""
        file = self.root / name
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, (name, before)
        file.write_text(text.replace(before, after), encoding="utf-8")

    def commit(self) -> None:
        """Commit all files, so that records are of a commit."""
        author = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
        for command in (["add", "-A"], [*author, "commit", "--quiet", "-m", "edit"]):
            subprocess.run(["git", *command], cwd=self.root, check=True)

    def run(self, *options: str, targets: tuple[str, ...] = TARGETS) -> str:
        """Run Snakemake to its end, which must come; what it said."""
        done = self.call(*options, targets=targets)
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def call(
        self, *options: str, targets: tuple[str, ...] = TARGETS, config: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake."""
        return self.python(*snakemake(*options, targets=targets, config=config))

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """This process's, but on the processor and with no data beside the copy's."""
        path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        more = {"PATH": path, "CODEBOOK_DATA": str(self.data), "CUDA_VISIBLE_DEVICES": ""}
        return {**os.environ, **more}

    def done(self, *targets: str) -> None:
        """Nothing is left to do for these files."""
        assert "Nothing to be done" in self.run("--dry-run", targets=targets)

    def settled(self) -> None:
        """Nothing is left to do, and every cell is what its records say."""
        self.done(*TARGETS)
        done = self.python("-m", "workflows.records.verify", "--budget", BUDGET)
        assert done.returncode == 0, done.stdout

    def record(self, cell: str, name: str = "train.json") -> dict[str, Any]:
        """A record of a cell."""
        file = self.root / f"results/{BUDGET}/cells/{cell}/{name}"
        return json.loads(file.read_text(encoding="utf-8"))

    def models(self) -> dict[str, tuple[str, int]]:
        """Cell -> digest of its model, and when its record was written."""
        found = {}
        for file in sorted(self.root.glob(f"results/{BUDGET}/cells/*/*/*/*/train.json")):
            sha = json.loads(file.read_text(encoding="utf-8"))["model_sha256"]
            name = file.parent.relative_to(self.root / f"results/{BUDGET}/cells").as_posix()
            found[name] = (sha, file.stat().st_mtime_ns)
        return found


def wait_for(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until the condition is true. what: named in the message if this takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


def snakemake(
    *options: str, targets: tuple[str, ...] = TARGETS, config: tuple[str, ...] = ()
) -> list[str]:
    """Python's arguments that run Snakemake."""
    return [
        *("-m", "snakemake", "--cores", "1", *options),
        *("--config", f"budget={BUDGET}", *config, "--", *targets),
    ]


def copy_tree(root: Path) -> None:
    """Copy what git knows or would add into `root`; of results only the published ones."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        made_here = name.startswith(("results/", "figures/")) and "/published/" not in name
        if made_here or name == ".venv" or not (source.is_file() or source.is_symlink()):
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, root / name, follow_symlinks=False)
    (root / ".venv").symlink_to(Path(sys.prefix))


def draw(folder: Path, name: str, seed: int) -> None:
    """One grey image of 16 x 16 pixels with a bright square somewhere."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (16, 16), np.uint8)
    top, left = random.integers(0, 9, 2)
    pixels[top : top + 6, left : left + 6] = 200 + random.integers(0, 55)
    Image.fromarray(pixels).save(folder / name)


def make(root: Path) -> Tiny:
    """A committed copy with the tiny grid, without results."""
    copy_tree(root)
    for folder in ("claims", "experiments"):
        shutil.rmtree(root / "workflows" / folder)
        (root / "workflows" / folder).mkdir()
    # Published numbers are of tables that this grid has not got.
    for file in (root / "results/published").glob("*.csv"):
        file.write_text(f"{file.read_text(encoding='utf-8').splitlines()[0]}\n", encoding="utf-8")
    tiny = Tiny(root, root.with_name(f"{root.name}-data"))
    (tiny.data / "squares").mkdir(parents=True)
    for number in range(32):
        draw(tiny.data / "squares", f"{number:03d}.png", number)
    tiny.write("datasets/own.yaml", DATASET)
    tiny.write(f"budgets/{BUDGET}.yaml", SETTINGS)
    tiny.write("experiments/methods.yaml", EXPERIMENT)
    ignored = ["/.venv", "__pycache__/", "/.cache/", "/.snakemake/", "/logs/", "/results/tiny/"]
    (root / ".gitignore").write_text("\n".join([*ignored, ""]))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    tiny.commit()
    return tiny


def copied(tiny: Tiny, root: Path, *without: str) -> Tiny:
    """Another copy that works on the same data, without some of its files and folders."""
    ignored = shutil.ignore_patterns(*without)
    shutil.copytree(tiny.root, root, symlinks=True, ignore=ignored)
    return Tiny(root, tiny.data)


def with_own_data(tiny: Tiny) -> Tiny:
    """The same with data of its own, at another path, hence prepared again by the next run."""
    other = Tiny(tiny.root, tiny.root.with_name(f"{tiny.root.name}-data"))
    shutil.copytree(tiny.data, other.data)
    return other
