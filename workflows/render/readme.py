"""The README's table from the collected results: `python -m workflows.render.readme [--check]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from workflows import cli
from workflows.config.plan import Plan
from workflows.errors import BenchmarkError
from workflows.files import write_text
from workflows.records.collect import gather
from workflows.records.published import read_published
from workflows.records.verdicts import verdicts
from workflows.render import captions
from workflows.render.blocks import blocks
from workflows.render.numbers import ABSENT, VERDICTS, heading, shown
from workflows.render.showing import PUBLISHED, read
from workflows.render.verdicts import STANDINGS, summary

ROOT = Path(__file__).parents[2]
BUDGET, TABLE, PROTOCOL = "lite", "methods", "as_published"
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR10"}
METRICS = ["PSNR", "rFID", "usage", "perplexity"]
START, END = "<!-- results -->", "<!-- /results -->"


def excerpt(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame) -> str:
    """The lines between the README's marks. measured, published: of Measured and Published."""
    kept = {
        block.dataset: block
        for block in blocks(plan, measured, published, TABLE)
        if block.protocol == PROTOCOL and block.dataset in DATASETS
    }
    wide: dict[str, list[str]] = {}
    for dataset, name in DATASETS.items():
        wide.setdefault("method", kept[dataset].rows["row"].to_list())
        for metric in METRICS:
            texts = []
            for line in kept[dataset].lines.query("metric == @metric").to_dict("records"):
                ours = shown(metric, line["mean"])
                if line["seeds"] > 1:
                    ours += f" ± {shown(metric, (line['high'] - line['low']) / 2)}"
                beside = f" / {line['published'] or ABSENT}" if metric in ("PSNR", "rFID") else ""
                texts.append(ours + beside)
            wide[f"{name} {heading(metric)}"] = texts
    body = pd.DataFrame(wide).to_markdown(index=False, disable_numparse=True)
    images = sorted(set.union(*(block.images("rFID") for block in kept.values())))
    count = " or ".join(f"{number:,}" for number in images) or "no"
    every = [seeds for block in kept.values() for seeds in block.rows["seeds"]]
    fewest, most = min(every), max(every)
    seeds = f"{fewest} {'seed' if most == 1 else 'seeds'}"
    seeds = seeds if fewest == most else f"{fewest} to {most} seeds"
    trained = " and ".join(
        f"{captions.trained(plan, plan.cells_of(TABLE, name))} of {title}"
        for name, title in DATASETS.items()
    )
    counted = summary(verdicts(plan, measured, published))
    stated = counted.loc["stated"]
    outcome = ", ".join(f"{n} {VERDICTS[str(verdict)][0]}" for verdict, n in stated.items() if n)
    others = [f"{counted.loc[name].sum()} on {STANDINGS[name]}" for name in counted.index[1:]]
    apart = f" Counted apart: {', '.join(others)}." if others else ""
    evidence = "; ".join(published.loc[published["table"] == TABLE, "evidence"].unique())
    return "\n\n".join(
        [
            f"Of {stated.sum()} verdicts on {STANDINGS['stated']}, one a dataset and metric: "
            f"{outcome} ([each of them](results/{BUDGET}/verdicts.md)).{apart}",
            f"Measured at budget *{BUDGET}*: {trained} instead of the published 500 over all at "
            f"1,024, {seeds}, "
            "as published with JPEG files; ours (mean ± half of its 95 % interval) / published; "
            f"rFID over {count} images. Published: {evidence} "
            "([all evidence](results/published/README.md)).",
            body,
            f"![Usage and perplexity during training](figures/{BUDGET}/training_curves.png)",
        ]
    )


def main(check: bool) -> None:
    """Write README.md, or with `check` raise BenchmarkError if something else would be written."""
    file = ROOT / "README.md"
    old = file.read_text(encoding="utf-8")
    if START not in old or END not in old:
        raise BenchmarkError(f"{file.name}: needs the marks {START} and {END}")
    budget = read(BUDGET)
    measured = gather(budget.plan, budget.found)["measured"]
    inner = excerpt(budget.plan, measured, read_published(PUBLISHED, budget.plan))
    text = f"{old.partition(START)[0]}{START}\n{inner}\n{END}{old.partition(END)[2]}"
    if check and old != text:
        raise BenchmarkError("README.md differs; run python -m workflows.render.readme")
    if not check:
        write_text(file, text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="readme", description=__doc__)
    parser.add_argument("--check", action="store_true")
    cli.run(parser, main)
