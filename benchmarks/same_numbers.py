"""What changes a cell's numbers, and by how much: `python -m benchmarks.same_numbers --help`.

The same cells are trained and evaluated again: alike, killed and resumed, with other numbers of
threads and processes, with the kernels of an older processor and, where there is one, on a GPU.
How far each metric moves stands beside how far it moves with the seed. benchmarks/results has the
table, docs/determinism.md what is made of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from workflows.provenance import commit
from workflows.schema import load_yaml
from workflows.start import VARIABLE

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "same_numbers.csv"
DATASET = "mnist_5k"
METHODS = ("vq_vae", "cvq_vae")
METRICS = ("PSNR", "SSIM", "LPIPS", "rFID", "usage")
SEEDS = (0, 1, 2)
EPOCHS = 2
IMAGES = 64  # of LPIPS and of the Fréchet distance


@dataclass(frozen=True)
class Way:
    """How a cell is trained. environment, options: of the training. killed: after its first epoch.
    gpu: whether it is on one.
    """

    title: str
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    killed: bool = False
    gpu: bool = False


STRAIGHT = Way("straight")
WAYS = [
    Way("again, alike"),
    Way("killed after an epoch and resumed", killed=True),
    Way("two threads", options=("--threads", "2")),
    Way(
        "kernels of a processor without AVX",
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    ),
    Way("four processes", options=("--processes", "4")),
    Way("on a GPU", gpu=True),
]


@dataclass(frozen=True)
class Bench:
    """Folders of the dataset, of the metric networks and of all that is trained."""

    data: Path
    weights: Path
    work: Path

    def prepare(self) -> None:
        """Data, metric networks and reference features, once."""
        step("prepare", "--dataset", DATASET, "--out", self.data)
        step("weights", "--out", self.weights)
        places = ["--data", self.data, "--weights", self.weights, "--out", self.reference]
        step("reference", *places, "--protocol", "exact", "--images", IMAGES, "--threads", 1)

    @property
    def reference(self) -> Path:
        """The features that reconstructions are compared with."""
        return self.work / "exact.safetensors"

    def measured(self, method: str, seed: int, way: Way) -> dict[str, Any]:
        """Metrics of a cell, and the digest of its model."""
        out = self.work / f"{method}-{seed}-{way.title.replace(' ', '-')}"
        device = {} if way.gpu else {"CUDA_VISIBLE_DEVICES": ""}
        environment = {**device, **way.environment}
        training = ["--spec", spec(method, seed), "--data", self.data, "--out", out]
        options = [*training, "--threads", 1, *way.options]
        if way.killed:
            kill_after_an_epoch(command("train", *options), out)
        step("train", *options, environment=environment)
        # Evaluated alike: what varies is the training.
        step(
            *("evaluate", "--cell", out, "--data", self.data, "--weights", self.weights),
            *("--protocols", "exact", "--fid-images", IMAGES, "--lpips-images", IMAGES),
            *("--reference", self.reference, "--threads", 1),
            environment={"CUDA_VISIBLE_DEVICES": ""},
        )
        values = pd.read_csv(out / "metrics.csv").set_index("metric")["value"]
        record = json.loads((out / "train.json").read_text())
        return {**{name: values[name] for name in METRICS}, "model": record["model_sha256"]}


def spec(method: str, seed: int) -> str:
    """An embedded cell's training, as its step reads it."""
    defaults = load_yaml(ROOT / "workflows" / "defaults.yaml", "defaults")
    knobs = {**defaults["knobs"], **defaults["methods"][method]}
    own = {"dataset": DATASET, "method": method, "seed": seed, "epochs": EPOCHS, "batch_size": 16}
    cell = f"{DATASET}/{method}/default/seed{seed}"
    return json.dumps({"budget": "embedded", "cell": cell, "knobs": {**knobs, **own}})


def command(name: str, *arguments: object) -> list[str]:
    """A step's command line."""
    return [sys.executable, "-m", f"workflows.steps.{name}", *map(str, arguments)]


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """This process's and those, without a process that holds libraries of other kernels."""
    return {**{k: v for k, v in os.environ.items() if k != VARIABLE}, **environment}


def step(name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
    """Run a step to its end."""
    line = command(name, *arguments)
    done = subprocess.run(
        line, cwd=ROOT, env=variables(environment or {}), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")


def kill_after_an_epoch(line: list[str], out: Path) -> None:
    """Begin a training into `out` on the processor and end it once its first epoch is kept.

    Raises RuntimeError if it ends by itself.
    """
    environment = variables({"CUDA_VISIBLE_DEVICES": ""})
    with subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        while not (out / "state" / "last.safetensors").exists():
            if process.poll() is not None:
                raise RuntimeError(f"the training of {out} ended by itself")
            time.sleep(0.05)
        process.kill()


def main() -> int:
    """Parse the command line; 1 if what must be the same is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="codebook-same-") as folder:
        root = Path(folder)
        bench = Bench(root / DATASET, root / "weights", root)
        bench.prepare()
        for method in METHODS:
            seeds = [bench.measured(method, seed, STRAIGHT) for seed in SEEDS]
            base = seeds[0]
            for way in WAYS:
                if way.gpu and not torch.cuda.is_available():
                    continue
                found = bench.measured(method, SEEDS[0], way)
                row = {"method": method, "way": way.title, "model": found["model"] == base["model"]}
                rows.append(row | {name: abs(found[name] - base[name]) for name in METRICS})
                print(rows[-1], flush=True)
            frame = pd.DataFrame(seeds)[list(METRICS)]
            spread = {name: float(frame[name].max() - frame[name].min()) for name in METRICS}
            rows.append({"method": method, "way": "seeds 0 to 2, largest less smallest", **spread})
            print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)
    frame["dataset"], frame["epochs"], frame["images"] = DATASET, EPOCHS, IMAGES
    head, dirty = commit()
    frame["commit"] = f"{head}+changes" if dirty else head
    frame["torch"] = torch.__version__
    frame["device"] = f"cpu ({torch.backends.cpu.get_cpu_capability()})"
    frame.to_csv(arguments.out, index=False)
    same = frame[frame["way"].isin([WAYS[0].title, WAYS[1].title])]
    return 0 if same["model"].all() and not same[list(METRICS)].any(axis=None) else 1


if __name__ == "__main__":
    sys.exit(main())
