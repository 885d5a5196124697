"""The README's table from the collected results: `python -m workflows.readme [--check]`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.data import describe, names
from workflows.grid import load_grid
from workflows.reading import read_csv
from workflows.render.numbers import ABSENT, UNITS
from workflows.render.plan import length
from workflows.render.tables import mean
from workflows.render.verdicts import STANDINGS, summary

ROOT = Path(__file__).parent.parent
BUDGET, TABLE, PROTOCOL = "lite", "methods", "as_published"
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR10"}
METRICS = ["PSNR", "rFID", "usage", "perplexity"]
START, END = "<!-- results -->", "<!-- /results -->"


def excerpt(
    table: pd.DataFrame, verdicts: pd.DataFrame, evidence: Collection[str], trained: str
) -> str:
    """The lines between the README's marks.

    table: results/<budget>/tables/methods.csv. verdicts: results/<budget>/verdicts.csv. evidence:
    how the published numbers are known. trained: how long and on how much.
    """
    wide: dict[str, list[str]] = {}
    images = set()
    for dataset, name in DATASETS.items():
        here = table[(table["dataset"] == dataset) & (table["protocol"] == PROTOCOL)]
        wide.setdefault("method", list(here["row"]))
        for metric in METRICS:
            unit = f" ({UNITS[metric]})" if metric in UNITS else ""
            lines = here[[metric, f"{metric} low", f"{metric} high", "seeds"]].set_axis(
                ["mean", "low", "high", "seeds"], axis=1
            )
            texts = [mean(metric, line) for line in lines.to_dict("records")]
            theirs = f"{metric} published"
            if metric in ("PSNR", "rFID"):
                said = here[theirs].fillna("").astype(str)
                texts = [
                    f"{ours} / {text or ABSENT}" for ours, text in zip(texts, said, strict=True)
                ]
            wide[f"{name} {metric}{unit}"] = texts
        images |= set(here["rFID images"].dropna().astype(int))
    body = pd.DataFrame(wide).to_markdown(index=False, disable_numparse=True)
    count = " or ".join(map(str, sorted(images)))
    fewest = int(table["seeds"].min())
    counted = summary(verdicts)
    outcome = ", ".join(
        f"{count} {verdict}" for verdict, count in counted.loc["stated"].items() if count
    )
    others = [f"{counted.loc[name].sum()} on {STANDINGS[name]}" for name in counted.index[1:]]
    apart = f" Counted apart: {', '.join(others)}." if others else ""
    return "\n\n".join(
        [
            f"Of {counted.loc['stated'].sum()} verdicts on {STANDINGS['stated']}, one a dataset "
            f"and metric: {outcome} ([each of them](results/{BUDGET}/verdicts.md)).{apart}",
            f"Measured at budget *{BUDGET}*: {trained} instead of the published 500 over all at "
            f"1,024, {fewest} {'seed' if fewest == 1 else 'seeds'}, "
            "as published with JPEG files; ours (mean ± half of its 95 % interval) / published. "
            f"A Fréchet distance over N = {count} images is far above one over 10,000, by more for "
            "some models than for others: it tells our own rows apart where they are far apart. "
            f"Published: {'; '.join(evidence)} ([all evidence](results/published/README.md)).",
            body,
            f"![Usage and perplexity during training](figures/{BUDGET}/training_curves.png)",
        ]
    )


def render(readme: str, *about: Any) -> str:
    """The README with its lines between the marks made anew. Raises ValueError without marks.

    about: what `excerpt` takes.
    """
    if START not in readme or END not in readme:
        raise ValueError(f"README.md: needs the marks {START} and {END}")
    inside = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    return inside.sub(lambda _: f"{START}\n{excerpt(*about)}\n{END}", readme)


def trained() -> str:
    """How long and on how much the runs of the table are trained, from the budget."""
    grid = load_grid(BUDGET, {name: describe(name) for name in names()})
    cells = [grid.cell(row.cell).knobs for row in grid.rows if row.table == TABLE]
    here = [knobs for knobs in cells if knobs["dataset"] in DATASETS]
    sizes = {(knobs["train_images"], knobs["batch_size"]) for knobs in here}
    return length({knobs["epochs"] for knobs in here}, sorted(sizes))


def main() -> int:
    """Write README.md, or with --check say whether it is what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    file = ROOT / "README.md"
    found = pd.read_csv(
        ROOT / "results" / BUDGET / "tables" / f"{TABLE}.csv",
        dtype={f"{metric} published": str for metric in METRICS},
    )
    verdicts = read_csv(ROOT / "results" / BUDGET / "verdicts.csv", "verdicts")
    published = read_csv(ROOT / "results" / "published" / f"{TABLE}.csv", "published")
    evidence = list(published["evidence"].unique())
    text = render(file.read_text(encoding="utf-8"), found, verdicts, evidence, trained())
    if check:
        if file.read_text(encoding="utf-8") != text:
            print("README.md differs; run python -m workflows.readme", file=sys.stderr)
            return 1
        return 0
    file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
