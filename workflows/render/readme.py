"""The README's table from the collected results: `python -m workflows.render.readme [--check]`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from workflows import cli
from workflows.config.plan import Plan
from workflows.errors import BenchmarkError
from workflows.records.collect import gather
from workflows.records.published import read_published
from workflows.records.verdicts import verdicts
from workflows.render import captions
from workflows.render.blocks import blocks
from workflows.render.numbers import ABSENT, UNITS
from workflows.render.showing import PUBLISHED, read
from workflows.render.tables import mean, tidy
from workflows.render.verdicts import STANDINGS, summary

ROOT = Path(__file__).parents[2]
BUDGET, TABLE, PROTOCOL = "lite", "methods", "as_published"
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR10"}
METRICS = ["PSNR", "rFID", "usage", "perplexity"]
START, END = "<!-- results -->", "<!-- /results -->"


def excerpt(
    table: pd.DataFrame, verdicts: pd.DataFrame, evidence: Collection[str], trained: str
) -> str:
    """The lines between the README's marks.

    table: of methods, as `tidy` gives it. verdicts: of the budget. evidence:
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
    count = " or ".join(f"{number:,}" for number in sorted(images)) or "no"
    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    seeds = f"{fewest} {'seed' if most == 1 else 'seeds'}"
    seeds = seeds if fewest == most else f"{fewest} to {most} seeds"
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
            f"1,024, {seeds}, "
            "as published with JPEG files; ours (mean ± half of its 95 % interval) / published; "
            f"rFID over {count} images. Published: {'; '.join(evidence)} "
            "([all evidence](results/published/README.md)).",
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


def trained(plan: Plan) -> str:
    """How long and on how much the runs of the table are trained."""
    lengths = [
        f"{captions.trained(plan, TABLE, name)} of {title}" for name, title in DATASETS.items()
    ]
    return " and ".join(lengths)


def main(check: bool) -> None:
    """Write README.md, or with `check` raise BenchmarkError if something else would be written."""
    file = ROOT / "README.md"
    budget = read(BUDGET)
    plan, measured = budget.plan, gather(budget.plan, budget.found)["measured"]
    published = read_published(PUBLISHED, plan)
    found = tidy(blocks(plan, measured, published, TABLE))
    judged = verdicts(plan, measured, published)
    evidence = list(published.loc[published["table"] == TABLE, "evidence"].unique())
    old = file.read_text(encoding="utf-8")
    text = render(old, found, judged, evidence, trained(plan))
    if check and old != text:
        raise BenchmarkError("README.md differs; run python -m workflows.render.readme")
    if not check:
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="readme", description=__doc__)
    parser.add_argument("--check", action="store_true")
    cli.run(parser, main)
