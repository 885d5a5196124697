"""A collected folder of made-up measurements, curves, counts, pictures and films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import save_file

from tests import plans
from workflows.config.experiments import Figures
from workflows.config.grid import ROOM
from workflows.config.lines import Codes, Curve, Measured
from workflows.config.plan import PlannedCell, PlannedDataset
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
    "faces": ("FFHQ", None),
}
SIZE = 16  # of a codebook
BAD = "digits/sq_vae/D8/seed0"
REASON = "last good step 7; the loss is nan"


class Made:
    """A collected folder in the making."""

    def __init__(self, folder: Path, seeds: tuple[int, ...], bad: tuple[str, ...], status: str):
        self.folder, self.seeds, self.bad, self.status = folder, seeds, bad, status
        self.cells: dict[str, PlannedCell] = {}
        self.rows: list[tuple[str, str, str]] = []
        self.measured: list = []
        self.curves: list = []
        self.codes: list = []

    def add(self, table: str, row: str, dataset: str, cell: str, **knobs: int) -> None:
        for seed in self.seeds:
            self.add_seed(table, row, f"{cell}/seed{seed}", {"seed": seed, **knobs}, dataset)

    def add_seed(self, table: str, row: str, cell: str, knobs: dict, dataset: str) -> None:
        knobs = {"codebook_size": SIZE, **knobs, "dataset": dataset}
        self.cells[cell] = plans.cell(f"{self.folder}/{cell}", **knobs)
        self.rows.append((table, row, cell))
        base = {"table": table, "row": row, "dataset": dataset, "cell": cell}
        base |= {"seed": knobs["seed"]}
        if self.status != "ok" or any(cell.startswith(bad) for bad in self.bad):
            status = "diverged" if self.status == "ok" else self.status
            self.measured.append(
                {**base, "status": status, "protocol": "all", "metric": "all", "note": REASON}
            )
            return
        for metric, value in (("rFID", 300.0), ("usage", 0.5)):
            value *= 1 + knobs["seed"] / 10
            values = {"protocol": "exact", "metric": metric, "value": value, "images": 64}
            self.measured.append({**base, **values, "status": "ok"})

    def train(self, cell: str, seed: int, steps_an_epoch: int) -> None:
        """Five records, one more for every seed; K - 2 - seed codes in use; grey pictures."""
        for n in range(1, 6 + seed):
            values = {"usage": (n + seed) / 100, "perplexity": 10.0 * n + seed}
            self.curves.append({"cell": cell, "epoch": n / steps_an_epoch, "step": n, **values})
        self.codes += [
            {"cell": cell, "code": n, "count": 0 if n < 2 + seed else 2**n} for n in range(SIZE)
        ]
        ramp = np.arange(28 * 2 * 28 * 8).reshape(56, 224) % 251
        picture = Image.fromarray((ramp + seed).astype(np.uint8))
        (self.folder / cell).mkdir(parents=True, exist_ok=True)
        picture.save(self.folder / cell / "reconstructions.png")


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


def collected(
    folder: Path,
    status: str = "ok",
    *,
    seeds: tuple[int, ...] = (0,),
    bad: tuple[str, ...] = (BAD,),
    datasets: tuple[str, ...] = ("digits", "patches"),
    steps_an_epoch: int = 2,
) -> Collected:
    """Every method on every dataset; cells of `bad` prefixes diverged, or all have `status`."""
    made = Made(folder, seeds, bad, status)
    for dataset in datasets:
        for row, method in METHODS.items():
            made.add("methods", row, dataset, f"{dataset}/{method}/default")
            for seed in seeds if status == "ok" else ():
                cell = f"{dataset}/{method}/default/seed{seed}"
                made.train(cell, seed, steps_an_epoch)
        for row in ("VQ-VAE", "CVQ-VAE"):
            cell = f"{dataset}/{SWEPT[row]}/D2"
            made.add("two_dimensions", row, dataset, cell, code_dim=2)
            for seed in seeds if status == "ok" else ():
                film(folder / cell / f"seed{seed}" / "film.safetensors")
        for row, method in SWEPT.items():
            for table, (knob, letter) in SWEEPS.items():
                for value in (4, 8, 32):
                    cell = f"{dataset}/{method}/{letter}{value}"
                    made.add(table, f"{row}, {letter} = {value}", dataset, cell, **{knob: value})
    plan = plans.plan(
        made.cells,
        made.rows,
        title="made_up: a budget with a title that is as long as those of the others, or longer",
        datasets={
            name: PlannedDataset(title=title, stand_in_for=real, images=12000)
            for name, (title, real) in DATASETS.items()
            if name in datasets
        },
    )
    return Collected(
        plan,
        pd.DataFrame(made.measured, columns=list(Measured.model_fields)),
        pd.DataFrame(made.curves, columns=list(Curve.model_fields)),
        pd.DataFrame(made.codes, columns=list(Codes.model_fields)),
    )


def write_all(cells: Path, out: Path) -> None:
    """Draw every figure of these made-up cells into a folder."""
    data = collected(cells, seeds=(0, 1), datasets=("digits",))
    out.mkdir()
    for name, figure in read_yaml(ROOM / "figures.yaml", Figures).figures.items():
        if figure.table in data.plan.tables:
            for file, content in files(data, name, figure).items():
                (out / file).write_bytes(content)
