"""Tables and figures from made-up measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from workflows.schema import read_csv, schema

ROOT = Path(__file__).parents[2]
FIGURES = ["dimensionality", "codebook_size", "training_curves", "reconstructions"]
METHODS = {"VQ-VAE (l2)": "vq_vae", "SQ-VAE": "sq_vae", "CVQ-VAE + contrastive": "cvq_vae"}


def _run(step: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", f"workflows.steps.{step}", *arguments], cwd=ROOT, check=True
    )


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan and its collected files: SQ-VAE has diverged, the faces cannot be had."""
    out = tmp_path_factory.mktemp("collected")
    (out / "reconstructions").mkdir()
    cells, rows, measured, curves, codes = {}, [], [], [], []

    def add(table, row, dataset, method, status="ok", note="", **knobs):
        variant = "-".join(f"{k[0]}{v}" for k, v in knobs.items()) or "default"
        cell = f"{dataset}/{method}/{variant}/seed0"
        size = {"epochs": 3, "batch_size": 64, "train_images": 900, "codebook_size": 8}
        knobs = {"dataset": dataset, "seed": 0, **size, **knobs}
        cells[cell] = {"folder": "none", "knobs": knobs, "missing": None}
        rows.append({"table": table, "row": row, "cell": cell})
        base = {
            "table": table, "row": row, "dataset": dataset, "status": status, "cell": cell,
            "seed": 0, "epochs": 3, "budget": "lite", "note": note,
        }  # fmt: skip
        if status != "ok":
            measured.append({**base, "protocol": "all", "metric": "all"})
            return
        for metric, value in (("rFID", 12.345), ("usage", 0.5), ("PSNR", 25.125)):
            scaled = value * (1 + knobs.get("code_dim", 0) / 100)
            values = {"protocol": "as_published", "metric": metric, "value": scaled, "images": 64}
            measured.append({**base, **values})
        if table == "methods":
            for n in (1, 2, 3):
                log = {"cell": cell, "epoch": n, "step": n, "loss": 1.0, "reconstruction": 0.5}
                tail = {
                    "usage": n / 4,
                    "perplexity": 9.0 * n,
                    "images_per_second": 5.0,
                    "seconds": n,
                }
                curves.append({**log, **tail})
                codes.append({"cell": cell, "code": n, "count": 10**n})
            name = cell.replace("/", "__") + ".png"
            Image.new("L", (64, 16), 128).save(out / "reconstructions" / name)

    for dataset in ("mnist", "photo_patches"):
        for row, method in METHODS.items():
            bad = row == "SQ-VAE"
            add(
                "methods",
                row,
                dataset,
                method,
                *(("diverged", "loss is nan") if bad else ()),
            )
        for size in (4, 32):
            add("code_dimension", f"CVQ-VAE, D = {size}", dataset, "cvq_vae", code_dim=size)
            add("codebook_size", f"VQ-VAE, K = {size}", dataset, "vq_vae", codebook_size=size)
    add("methods", "SQ-VAE", "ffhq", "sq_vae", "dataset_missing", "put FFHQ there")
    places = {"rows": list(METHODS), "datasets": ["mnist", "cifar10"]}
    about = {"title": "Table", "caption": "made up", "metrics": ["PSNR", "rFID", "usage"]}
    about |= {"published": places}
    plan = {
        "budget": "lite", "title": "lite: made up", "cells": cells, "rows": rows,
        "tables": dict.fromkeys(
            ("methods", "code_dimension", "codebook_size", "two_dimensions"), about
        ),
        "datasets": {
            "mnist": {"title": "MNIST", "stand_in_for": None},
            "photo_patches": {"title": "Photo patches", "stand_in_for": "cifar10"},
            "ffhq": {"title": "FFHQ", "stand_in_for": None},
        },
    }  # fmt: skip
    (out / "plan.json").write_text(json.dumps(plan))
    (out / "published").mkdir()
    number = dict.fromkeys(schema("published")["properties"], "made up")
    number |= {"table": "methods", "row": "CVQ-VAE + contrastive", "dataset": "mnist"}
    number |= {"protocol": "as_published", "metric": "rFID", "value": "1.80"}
    pd.DataFrame([number]).to_csv(out / "published" / "methods.csv", index=False)
    for name, lines in (("measured", measured), ("curves", curves), ("codes", codes)):
        frame = pd.DataFrame(lines, columns=list(schema(name)["properties"]))
        frame = frame.astype({"images": "Int64"}) if name == "measured" else frame
        frame.to_csv(out / f"{name}.csv", index=False)
    return out


def test_a_table_shows_ours_published_and_what_failed(collected: Path, tmp_path: Path) -> None:
    files = ["--plan", f"{collected}/plan.json", "--measured", f"{collected}/measured.csv"]
    place = ["--published", f"{collected}/published", "--table", "methods", "--out", str(tmp_path)]
    _run("tables", *files, *place)
    text = (tmp_path / "methods.md").read_text()
    for expected in ("12.35", "1.80", "diverged", "dataset missing", "stand-in", "N = 64", "50.0"):
        assert expected in text
    assert (tmp_path / "methods.tex").stat().st_size > 0
    assert (tmp_path / "methods.csv").stat().st_size > 0


@pytest.mark.parametrize("figure", [*FIGURES, "code_histograms", "codevectors"])
def test_a_figure_is_drawn_and_its_svg_is_the_same_twice(
    collected: Path, tmp_path: Path, figure: str
) -> None:
    files = ["--plan", f"{collected}/plan.json", "--collected", str(collected)]
    for out in ("one", "two"):
        _run("figures", *files, "--figure", figure, "--out", str(tmp_path / out))
    assert (tmp_path / "one" / f"{figure}.png").stat().st_size > 0
    one, two = ((tmp_path / out / f"{figure}.svg").read_bytes() for out in ("one", "two"))
    assert one == two
    assert b"<text" not in one
    with Image.open(tmp_path / "one" / f"{figure}.png") as picture:
        assert round(picture.info["dpi"][0]) == 200
        assert picture.width <= 7 * 200


def test_a_plan_without_a_key_is_refused_in_one_line(collected: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    files = {"plan": f"{tmp_path}/plan.json", "collected": str(collected)}
    files |= {"figure": "dimensionality", "out": str(tmp_path)}
    options = [part for name, file in files.items() for part in (f"--{name}", file)]
    done = subprocess.run(
        [sys.executable, "-m", "workflows.steps.figures", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "plan.json: missing key 'budget'" in done.stderr


@pytest.mark.parametrize(
    ("table", "values"), [("anchors", 16), ("reinitialisation", 21), ("methods", 19)]
)
def test_every_published_value_is_there(table: str, values: int) -> None:
    assert len(read_csv(ROOT / "results" / "published" / f"{table}.csv", "published")) == values
