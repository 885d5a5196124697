"""The README's table from the collected results: `python -m workflows.render.readme [--check]`."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.config import cli
from workflows.config.plan import Plan
from workflows.errors import BenchmarkError
from workflows.files import write_text
from workflows.records.collect import gather
from workflows.records.published import read_published
from workflows.records.state import read_results
from workflows.records.verdicts import verdicts
from workflows.render import captions
from workflows.render.blocks import blocks
from workflows.render.numbers import ABSENT, VERDICTS, heading, span
from workflows.render.showing import PUBLISHED
from workflows.render.verdicts import STANDINGS, summary

ROOT = Path(__file__).parents[2]
BUDGET, TABLE, PROTOCOL = "lite", "methods", "as_published"
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR10"}
# Metric -> whether the published number stands beside ours.
METRICS = {"PSNR": True, "rFID": True, "usage": False, "perplexity": False}
START, END = "<!-- results -->", "<!-- /results -->"


def excerpt(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame) -> str:
    """The lines between the README's marks. measured, published: of Measured and Published."""
    every = blocks(plan, measured, published, TABLE)
    kept = {block.dataset: block for block in every if block.protocol == PROTOCOL}
    wide: dict[str, list[str]] = {}
    for dataset, name in DATASETS.items():
        wide.setdefault("method", kept[dataset].rows["row"].to_list())
        for metric, lines in kept[dataset].lines.groupby("metric", sort=False):
            if metric in METRICS:
                column = f"{name} {heading(str(metric))}"
                wide[column] = [_entry(line) for line in lines.to_dict("records")]
    shown = [kept[dataset] for dataset in DATASETS]
    images = sorted({count for block in shown for count in block.images.get("rFID", ())})
    seeds = {count for block in shown for count in block.rows["seeds"] if count}
    number = "one seed" if seeds == {1} else f"{span(seeds or {0})} seeds"
    halves = any((block.lines["half"] != "").any() for block in shown)
    trained = " and ".join(
        f"{captions.trained(plan, plan.cells_of(TABLE, name))} of {title}"
        for name, title in DATASETS.items()
    )
    counted = summary(verdicts(plan, measured, published))
    stated = counted.loc["stated"]
    outcome = ", ".join(f"{n} {VERDICTS[str(verdict)][0]}" for verdict, n in stated.items() if n)
    others = [f"{counted.loc[name].sum()} on {STANDINGS[name]}" for name in counted.index[1:]]
    apart = f" Counted apart: {', '.join(others)}." if others else ""
    # Only sources of what the table shows.
    beside = [metric for metric, theirs in METRICS.items() if theirs]
    cited = published[published["table"] == TABLE]
    cited = cited[cited["dataset"].isin(DATASETS) & cited["metric"].isin(beside)]
    evidence = "; ".join(cited["evidence"].unique())
    return "\n\n".join(
        [
            f"Of {stated.sum()} verdicts on {STANDINGS['stated']}, one per dataset and metric: "
            f"{outcome} ([each of them](results/{BUDGET}/verdicts.md)).{apart}",
            f"Measured at budget *{BUDGET}*: {trained} instead of the published 500 over all at "
            f"1,024, {number}, as published with JPEG files; "
            f"ours{' (mean ± half of its 95 % interval)' if halves else ''} / published; "
            f"rFID over {' or '.join(f'{count:,}' for count in images) or 'no'} images. "
            f"Published: {evidence} ([all evidence](results/published/README.md)).",
            pd.DataFrame(wide).to_markdown(index=False, disable_numparse=True),
            f"![Usage and perplexity during training](figures/{BUDGET}/training_curves.png)",
        ]
    )


def _entry(line: Mapping[Hashable, Any]) -> str:
    """The number of a block's line, and of metrics that the paper has the published one."""
    ours = " ± ".join(filter(None, (line["text"] or ABSENT, line["half"])))
    return f"{ours} / {line['published'] or ABSENT}" if METRICS[line["metric"]] else ours


def main(check: bool) -> None:
    """Write README.md, or with `check` raise BenchmarkError if something else would be written."""
    file = ROOT / "README.md"
    old = file.read_text(encoding="utf-8")
    if START not in old or END not in old:
        raise BenchmarkError(f"{file.name}: needs the marks {START} and {END}")
    results = read_results(BUDGET)
    measured = gather(results.plan, results.states)["measured"]
    inner = excerpt(results.plan, measured, read_published(PUBLISHED, results.plan))
    text = f"{old.partition(START)[0]}{START}\n{inner}\n{END}{old.partition(END)[2]}"
    if check and old != text:
        raise BenchmarkError("README.md differs; run python -m workflows.render.readme")
    if not check:
        write_text(file, text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="readme", description=__doc__)
    parser.add_argument("--check", action="store_true")
    cli.run(parser, main)
