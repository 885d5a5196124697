"""A budget's results, made up: what the site is built from, without a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tests import plans
from tests.plans import PAYLOAD
from workflows.config.datasets import read_datasets
from workflows.config.grid import ROOM, load_grid
from workflows.config.lines import Codes, Curve, Measured, read_csv
from workflows.config.plan import Plan, PlannedCell, PlannedRow
from workflows.config.planning import make_plan
from workflows.config.reading import parse
from workflows.files import write_json, write_text
from workflows.records.published import read_published
from workflows.render import showing
from workflows.render.site.gallery import Gallery

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
MISSING, DIVERGED = "ffhq_subset_64", "mnist/vq_vae/cosine/seed1"
# A run whose reconstructions equal their images.
PERFECT = "mnist/sq_vae/default/seed0"
# The variant whose runs have curves and counts. A page draws them, which takes most of a site's
# time, and draws them alike whatever the cell.
DRAWN = "contrastive"
# Tables whose texts hold PAYLOAD, and a row whose label does.
SPOILT = {"reinitialisation", "generation_lsun"}
ROW = "hard encoded features"
SPOILT_ROW = ROW + PAYLOAD
# A cell's name is a path; these are all the marks that such a path takes.
OLD_NAME = "mnist/cvq_vae/default/seed0"
NAME = "mnist/cvq\"><b>'&lt;{{7*7}}/javascript:window.pwned=1/seed0"


def site(
    out: Path,
    budget: str = "lite",
    room: Path = ROOM,
    found_as: Callable[[pd.DataFrame], pd.DataFrame] = lambda measured: measured,
    tables: tuple[str, ...] = (),
) -> Path:
    """Build the site of a budget with all its seeds and protocols; returns its folder.

    Its parent has the budget's tables and numbers. The faces cannot be had, one run of `lite` has
    diverged and one is perfect, most runs of stage 1 have no records of their training, and texts
    of every kind hold PAYLOAD.
    room: the folder of what people write. found_as: what becomes of the measurements. tables: the
    tables that are shown, or none for all.
    """
    datasets = read_datasets(room)
    grid = load_grid(budget, datasets, room)
    folder, figures = out / budget, out / "figures"
    absent = {MISSING: f"put the faces there {PAYLOAD}"}
    planned = make_plan(grid, datasets, absent, str(out), room)
    content = planned.model_dump(mode="json")
    known = parse(_spoilt(of_tables(content, *tables) if tables else content), Plan, "plan")
    folder.mkdir()
    figures.mkdir()
    write_json(folder / "plan.json", known.model_dump(mode="json"))
    frames = _frames(known)
    for name in ("measured", "in_no_table"):
        frames[name] = found_as(frames[name])
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    frames["measured"] = read_csv(folder / "measured.csv", Measured)
    published = read_published(PUBLISHED, planned)
    published = published[published["table"].isin(known.tables)].replace({"row": {ROW: SPOILT_ROW}})
    gallery = Gallery(known, **frames, published=published)
    for numbers in (published, gallery.reported):
        for column in ("source", "evidence", "note"):
            numbers[column] += PAYLOAD
    for table in known.tables:
        for kind, text in showing.texts(gallery, table).items():
            write_text(folder / "tables" / f"{table}.{kind}", text)
    gallery.verdicts.to_csv(folder / "verdicts.csv", index=False)
    for name, figure in known.figures.items():
        for file in (f"{name}.png", *figure.more):
            Image.new("RGB", (8, 4)).save(figures / file)
        (figures / f"{name}.csv").write_text("dataset\n")
        (figures / f"{name}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return showing.draw_site(gallery, figures).parent


def _spoilt(content: dict[str, Any]) -> dict[str, Any]:
    """A plan with PAYLOAD in a text of each kind that people write, and with a spoilt name."""
    content = json.loads(json.dumps(content).replace(OLD_NAME, json.dumps(NAME)[1:-1]))
    content["title"] += PAYLOAD
    digits = content["roles"]["digits"]
    if digits in content["datasets"]:
        content["datasets"][digits]["title"] += PAYLOAD
    if "codevectors" in content["figures"]:
        content["figures"]["codevectors"] |= dict.fromkeys(("title", "caption"), PAYLOAD)
    for table in SPOILT & content["tables"].keys():
        content["tables"][table]["title"] += PAYLOAD
        content["tables"][table]["caption"] = PAYLOAD
    rows = {ROW: SPOILT_ROW}
    for claim in content["claims"]:
        if claim["table"] in SPOILT:
            claim["about"] |= dict.fromkeys(("claim", "source", "caveat"), PAYLOAD)
        claim |= {key: [rows.get(row, row) for row in claim[key]] for key in ("of", "than")}
    for line in content["rows"]:
        line["row"] = rows.get(line["row"], line["row"])
    for table in content["tables"].values():
        for key in ("order", "published_rows"):
            table[key] = [rows.get(row, row) for row in table[key]]
    return content


def of_tables(content: dict[str, Any], *tables: str) -> dict[str, Any]:
    """A plan of some of its tables alone: their runs and first stages, figures and claims."""

    def kept(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [line for line in lines if line["table"] in tables]

    rows, cells, kept_tables = kept(content["rows"]), content["cells"], (*tables, None)
    shown = {line["cell"] for line in rows}
    shown |= {cells[name]["knobs"].get("first_stage") for name in shown}
    return content | {
        "rows": rows,
        "cells": {name: about for name, about in cells.items() if name in shown},
        "tables": {name: content["tables"][name] for name in tables},
        "figures": {n: one for n, one in content["figures"].items() if one["table"] in kept_tables},
        "claims": kept(content["claims"]),
        "absent": kept(content["absent"]),
    }


def _frames(plan: Plan) -> dict[str, pd.DataFrame]:
    random = np.random.default_rng(0)
    found: dict[str, list[dict[str, Any]]] = {"curves": [], "codes": []}
    values = {
        name: f"dataset missing: {cell.missing}"
        if cell.missing
        else _train(name, cell, random, found)
        for name, cell in plan.cells.items()
    }
    shown = {row.cell for row in plan.rows}
    unshown = [PlannedRow(table="", row="", cell=name) for name in plan.cells if name not in shown]

    def measured(rows: list[PlannedRow]) -> pd.DataFrame:
        return plans.measured(
            plan.model_copy(update={"rows": rows}), lambda line: values[line.cell], images=64,
            features=PAYLOAD, seconds=61.0, threads=1, commit="0123456789ab" + PAYLOAD,
            device="cpu" + PAYLOAD, dataset_digest="da" * 6, features_digest="",
            lock_digest="10c4" * 3,
        )  # fmt: skip

    return {
        "measured": measured(plan.rows),
        "in_no_table": measured(unshown),
        "curves": pd.DataFrame(found["curves"], columns=list(Curve.model_fields)),
        "codes": pd.DataFrame(found["codes"], columns=list(Codes.model_fields)),
    }


def _train(
    cell: str,
    planned: PlannedCell,
    random: np.random.Generator,
    found: dict[str, list],
) -> dict[str, float] | str:
    """A run's record and picture on disk, its curves and codes in `found`; its metrics, or why it
    has none.
    """
    folder = Path(planned.folder)
    folder.mkdir(parents=True)
    record = {
        "status": "diverged" if cell == DIVERGED else "finished", "message": PAYLOAD, "cell": cell,
        "budget": "lite", "knobs": planned.knobs.model_dump(), "epochs": 2, "images": 12000,
        "steps": 1500, "planned_steps": 1500, "seconds": 61.0, "device": "cpu" + PAYLOAD,
        "threads": 1, "commit": "0123456789ab" + PAYLOAD, "dirty": False,
        "dataset_sha256": "0" * 64, "parameters": 7,
    }  # fmt: skip
    (folder / "train.json").write_text(json.dumps(record))
    picture = "samples.png" if planned.stage == 2 else "reconstructions.png"
    Image.new("L", (64, 16), 128).save(folder / picture)
    if cell == DIVERGED:
        return f"diverged: lost {PAYLOAD}"
    noise = 0.01 * random.random()
    if planned.stage == 2:
        Image.new("L", (64, 32), 128).save(folder / "neighbours.png")
        found["curves"] += [
            {"cell": cell, "epoch": n, "step": n, "loss": 1 / (n + 1), "FID": 400 - 100 * n}
            | {"images_per_second": 5.0, "seconds": n}
            for n in (0, 1, 2)
        ]
        return {"FID": 80.0 - 20 * ("cvq_vae" in cell) + noise, "KID": 0.05 + noise} | {
            "KID-deviation": 0.001, "precision": 0.5, "recall": 0.25,
        }  # fmt: skip
    if cell.split("/")[2] == DRAWN:
        found["curves"] += [
            {"cell": cell, "epoch": n, "step": n, "loss": 1.0, "reconstruction": 1 / n}
            | {"usage": n / 4, "perplexity": 9.0, "images_per_second": 5.0, "seconds": n}
            for n in (1, 2)
        ]
        found["codes"] += [{"cell": cell, "code": n, "count": 3 * n} for n in range(4)]
    # CVQ-VAE is better by far more than seeds differ.
    good = "cvq_vae" in cell
    return {
        "l1": 0.05 - 0.03 * good + 0.01 * noise,
        "PSNR": np.inf if cell == PERFECT else 20.0 + 5 * good + noise,
        "SSIM": 0.8 + 0.1 * good + noise, "LPIPS": 0.2 - 0.1 * good + noise,
        "rFID": 80.0 - 20 * good + noise, "usage": 0.1 + 0.88 * good, "perplexity": 9.0 + 90 * good,
        "parameters": 7, "step": 5.0,
    }  # fmt: skip
