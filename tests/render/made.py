"""A collected folder of made-up measurements, curves, counts, pictures and films."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import save_file

from tests import plans
from workflows.config.experiments import Figures
from workflows.config.grid import ROOM
from workflows.config.lines import Codes, Curve, Published
from workflows.config.plan import Plan, PlannedCell, PlannedDataset, PlannedRow
from workflows.config.reading import read_yaml
from workflows.render.collected import Collected
from workflows.render.figures import files

METHODS = {
    "VQ-VAE (l2)": "vq_vae",
    "VQ-VAE (moving average)": "vq_vae_ema",
    "SQ-VAE": "sq_vae",
    "CVQ-VAE": "cvq_vae",
}
SWEPT = {"VQ-VAE": "vq_vae", "SQ-VAE": "sq_vae", "CVQ-VAE": "cvq_vae"}
SWEEPS = {"code_dimension": ("code_dim", "D"), "codebook_size": ("codebook_size", "K")}
DATASETS = {
    "digits": ("MNIST, 5,000 of its training images", "mnist"),
    "patches": ("32 x 32 patches of photographs from scikit-image and scikit-learn", "cifar10"),
}
SIZE = 16  # of a codebook
BAD = "digits/sq_vae/D8/seed0"
REASON = "last good step 7; the loss is nan"


def film(file: Path, **changes: np.ndarray) -> None:
    """Codes 0 to 3 far out and in use, the rest near 0 and not; every tenth latent is far away."""
    random, steps = np.random.default_rng(0), (0, 1, 10, 100)
    codebook = random.uniform(-0.05, 0.05, (len(steps), SIZE, 2))
    codebook[:, :4] = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    latents = random.normal(size=(len(steps), 40, 2))
    latents[:, ::10] *= 20
    codebook[:, :4] *= random.uniform(1, 2, (len(steps), 4, 1))
    counts = np.where(np.arange(SIZE) < 4, 50, 0) * np.ones((len(steps), 1))
    tensors = {"codebook": codebook, "latents": latents}
    packed = {name: value.astype(np.float32) for name, value in tensors.items()}
    packed |= {"step": np.array(steps, np.int32), "counts": counts.astype(np.int32), **changes}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(packed, file)


def runs(datasets: Iterable[str]) -> Iterator[tuple[str, str, str, str, dict[str, int]]]:
    """(table, row, dataset, cell without its seed, knobs) of every row."""
    for dataset in datasets:
        for row, method in METHODS.items():
            yield "methods", row, dataset, f"{dataset}/{method}/default", {}
            for length, epochs in (("1/2", 1), ("1", 2), ("4", 8)):
                cell = f"{dataset}/{method}/epochs{epochs}"
                label = f"{row}, length = {length}"
                yield "training_length", label, dataset, cell, {"epochs": epochs}
        for row in ("VQ-VAE", "CVQ-VAE"):
            cell = f"{dataset}/{SWEPT[row]}/D2"
            yield "two_dimensions", row, dataset, cell, {"code_dim": 2}
        for row, method in SWEPT.items():
            for table, (knob, letter) in SWEEPS.items():
                for value in (4, 8, 32):
                    cell = f"{dataset}/{method}/{letter}{value}"
                    yield table, f"{row}, {letter} = {value}", dataset, cell, {knob: value}


def collected(
    folder: Path,
    status: str = "ok",
    *,
    seeds: tuple[int, ...] = (0,),
    bad: tuple[str, ...] = (BAD,),
    datasets: tuple[str, ...] = ("digits", "patches"),
    steps_an_epoch: int = 2,
) -> Collected:
    """Every method on every dataset; cells of `bad` prefixes diverged, or all have `status`.

    A run has five records, one more for every seed, K - 2 - seed codes in use and grey pictures.
    """
    cells: dict[str, PlannedCell] = {}
    rows: list[tuple[str, str, str]] = []
    lines: dict[str, list] = {"curves": [], "codes": []}
    every = [(*run, seed) for run in runs(datasets) for seed in seeds]
    for table, row, dataset, settings, knobs, seed in every:
        cell = f"{settings}/seed{seed}"
        about = {"codebook_size": SIZE, **knobs, "dataset": dataset, "seed": seed}
        cells[cell] = plans.cell(folder / cell, **about)
        rows.append((table, row, cell))
        if status == "ok" and table == "two_dimensions":
            film(folder / cell / "film.safetensors")
        if status == "ok" and table == "methods":
            for n in range(1, 6 + seed):
                values = {"loss": 2.0**-n, "reconstruction": 3.0**-n}
                values |= {"usage": (n + seed) / 100, "perplexity": 10.0 * n + seed}
                record = {"cell": cell, "epoch": n / steps_an_epoch, "step": n, **values}
                lines["curves"].append(record)
            counts = [0 if n < 2 + seed else 2**n for n in range(SIZE)]
            lines["codes"] += [
                {"cell": cell, "code": n, "count": count} for n, count in enumerate(counts)
            ]
            ramp = np.arange(28 * 2 * 28 * 8).reshape(56, 224) % 251
            (folder / cell).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((ramp + seed).astype(np.uint8))
            picture.save(folder / cell / "reconstructions.png")
    plan = plans.plan(
        cells,
        rows,
        title="made_up: a budget with a title that is as long as those of the others, or longer",
        datasets={
            name: PlannedDataset(title=title, stand_in_for=real, images=12000)
            for name, (title, real) in DATASETS.items()
            if name in datasets
        },
    )

    def values(line: PlannedRow) -> dict[str, float] | str:
        if status != "ok" or line.cell.startswith(bad):
            return f"{'diverged' if status == 'ok' else status}: {REASON}"
        factor = 1 + plan.knobs(line.cell).seed / 10
        return {"rFID": 300 * factor, "usage": 0.5 * factor, "PSNR": 20 * factor}

    about = {"row": "CVQ-VAE + contrastive", "dataset": "cifar10", "protocol": "as_published"}
    lines["published"] = [{"table": "methods", **about, "metric": "PSNR", "value": "24.72"}]
    return holding(plan, plans.measured(plan, values, images=64, seconds=90.0), **lines)


def holding(plan: Plan, measured: pd.DataFrame, **lines: list[dict[str, Any]]) -> Collected:
    """These measurements of a plan, with these lines of curves, codes and published numbers."""
    kinds = {"curves": Curve, "codes": Codes, "published": Published}
    frames = {
        name: pd.DataFrame(lines.get(name, []), columns=list(kind.model_fields))
        for name, kind in kinds.items()
    }
    return Collected(plan, measured, measured.head(0), **frames)


def write_all(cells: Path, out: Path) -> None:
    """Draw every figure of these made-up cells into a folder."""
    data = collected(cells, seeds=(0, 1), datasets=("digits",))
    out.mkdir()
    for name, figure in read_yaml(ROOM / "figures.yaml", Figures).root.items():
        if figure.table in data.plan.tables:
            for file, content in files(data, name, figure).items():
                (out / file).write_bytes(content)
