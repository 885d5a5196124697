"""A copy of the repository in which a small cell is run, disturbed and run again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import psutil
import yaml

ROOT = Path(__file__).parents[2]
# Of the smoke budget, but long enough that there is something to interrupt.
BUDGET = "faults"
KNOBS = {"epochs": 12, "batch_size": 16, "train_images": 256}
CELL = f"results/{BUDGET}/cells/mnist_5k/cvq_vae/default/seed0"
TARGET = f"{CELL}/metrics.csv"
# What says how fast it went, and when.
TIMING = ["seconds", "images_per_second"]
PATIENCE = 900.0


class Broken(AssertionError):
    """A promise that was not kept, in words."""


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit status and everything that it said."""

    status: int
    said: str

    def says(self, *parts: str) -> str:
        """The first line with all the parts. Raises Broken if there is none."""
        for line in self.said.splitlines():
            if all(part in line for part in parts):
                return line.strip()
        raise Broken(f"no line says {' and '.join(map(repr, parts))}:\n{self.said[-2000:]}")


@dataclass(frozen=True)
class Place:
    """root: the copy. prefix: what commands begin with, such as another clock."""

    root: Path
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def cell(self) -> Path:
        """The folder of the cell that is disturbed."""
        return self.root / CELL

    def having(self, **variables: str) -> Place:
        """The same with environment variables beside."""
        return replace(self, environment={**self.environment, **variables})

    def command(self, *targets: str, options: tuple[str, ...] = ()) -> list[str]:
        """Snakemake's, for the targets."""
        return [
            *self.prefix,
            str(self.root / ".venv/bin/snakemake"),
            *("--cores", "1", "--quiet", "rules", "--config", f"budget={BUDGET}"),
            *options,
            "--",
            *(targets or (TARGET,)),
        ]

    def variables(self) -> dict[str, str]:
        """Those of this process, without local data, on the processor."""
        unset = ("CODEBOOK_DATA", "CODEBOOK_WEIGHTS", "CODEBOOK_PRELOADED")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        path = f"{self.root / '.venv/bin'}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, "PATH": path, "CUDA_VISIBLE_DEVICES": "", **self.environment}

    def run(self, *targets: str, options: tuple[str, ...] = ()) -> Done:
        """Run Snakemake to its end, which must come."""
        return self.command_here(self.command(*targets, options=options))

    def step(self, step: str, *arguments: object) -> Done:
        """Run one step on its own."""
        module = f"workflows.steps.{step}"
        return self.command_here([*self.prefix, sys.executable, "-m", module, *map(str, arguments)])

    def command_here(self, command: list[str], patience: float = PATIENCE) -> Done:
        """Run any command here, to its end, which must come within so many seconds."""
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self.variables(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=patience,
            )
        except subprocess.TimeoutExpired as error:
            raise Broken(f"no end within {patience:.0f} s: {command}") from error
        return Done(done.returncode, done.stdout)

    @contextlib.contextmanager
    def running(self, *targets: str, options: tuple[str, ...] = ()) -> Iterator[psutil.Process]:
        """Snakemake at work, and an end to all that it started if something fails meanwhile."""
        command = self.command(*targets, options=options)
        with (
            self.heard.open("w") as heard,
            subprocess.Popen(
                command,
                cwd=self.root,
                env=self.variables(),
                stdout=heard,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's jobs in the background, of which this may be one, do not hear of it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            ) as process,
        ):
            try:
                yield psutil.Process(process.pid)
            finally:
                for left in self.processes():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        left.kill()
                process.kill()

    @property
    def heard(self) -> Path:
        """What the run that is disturbed says."""
        return self.root / "heard.log"

    def processes(self) -> list[psutil.Process]:
        """All that work in the copy, but for those of this process."""
        own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid not in own and Path(process.cwd()) == self.root:
                    found.append(process)
        return found

    def trainers(self) -> list[psutil.Process]:
        """The processes that train the cell."""
        state = str(self.cell / "state")
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if any(file.path.startswith(state) for file in process.open_files()):
                    found.append(process)
        return found

    def unlock(self) -> None:
        """What Snakemake asks for after it was killed."""
        done = self.run(options=("--unlock",))
        if done.status:
            raise Broken(f"cannot be unlocked: {done.said[-500:]}")

    def numbers(self) -> dict[str, object]:
        """All that the cell's results are, but for how fast they came."""
        log = pd.read_csv(self.cell / "log.csv").drop(columns=TIMING)
        record = json.loads((self.cell / "train.json").read_text())
        return {
            "metrics": (self.cell / "metrics.csv").read_text(),
            "codes": (self.cell / "codes.csv").read_text(),
            "log": log.to_csv(index=False),
            "model": record["model_sha256"],
            "status": record["status"],
        }

    def completes(self, wanted: dict[str, object]) -> str:
        """Run to the end, which must give the numbers of an undisturbed run. Raises Broken."""
        done = self.run()
        if done.status:
            raise Broken(f"the next run failed: {done.said[-2000:]}")
        found = self.numbers()
        other = [name for name, value in wanted.items() if found[name] != value]
        if other:
            raise Broken(f"the next run's {', '.join(other)} are not those of an undisturbed one")
        return "the next run ends with the same numbers"


def wait_for(what: Callable[[], object], described: str, patience: float = PATIENCE) -> None:
    """Wait until it is true. Raises Broken after a while."""
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            raise Broken(f"{described}: waited {patience:.0f} s")
        time.sleep(0.02)


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL, and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=20)


def copy_tree(root: Path, results: bool = False) -> None:
    """Copy what git knows or would add into `root`, of results the published alone by default."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        made = (
            not results
            and name.startswith(("results/", "figures/"))
            and not name.startswith("results/published")
        )
        if (source.is_file() or source.is_symlink()) and not made and name != ".venv":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            # Links too: through one of them Snakemake finds its profile.
            shutil.copy2(source, root / name, follow_symlinks=False)
    (root / ".venv").symlink_to(Path(sys.prefix))


def make(root: Path) -> Place:
    """A copy with the budget of faults."""
    copy_tree(root)
    smoke = yaml.safe_load((ROOT / "workflows/budgets/smoke.yaml").read_text())
    budget = {**smoke, "knobs": {**smoke["knobs"], **KNOBS}}
    (root / f"workflows/budgets/{BUDGET}.yaml").write_text(yaml.safe_dump(budget))
    return Place(root)


def copy_of(place: Place, root: Path) -> Place:
    """Another copy, with what is prepared in the first and without its results."""
    shutil.copytree(place.root, root, symlinks=True, ignore=shutil.ignore_patterns("results"))
    shutil.copytree(place.root / "results" / "published", root / "results" / "published")
    return Place(root)
