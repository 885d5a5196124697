"""Write the README's table of results: `python -m workflows.render.readme [--check]`."""

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
from workflows.records import PUBLISHED
from workflows.records.collect import gather
from workflows.records.published import read_published
from workflows.records.state import read_results
from workflows.records.verdicts import verdicts
from workflows.render import captions
from workflows.render.blocks import blocks
from workflows.render.numbers import ABSENT, VERDICTS, heading, span
from workflows.render.verdicts import STANDINGS, summary

ROOT = Path(__file__).parents[2]
BUDGET, TABLE, PROTOCOL = "lite", "methods", "as_published"
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR10"}
METRICS = ("PSNR", "rFID", "usage", "perplexity")
# The metrics whose published numbers stand beside ours.
COMPARED = ("PSNR", "rFID")
START, END = "<!-- results -->", "<!-- /results -->"


def excerpt(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame) -> str:
    """Return the text between the README's marks: verdicts, conditions, a table and a figure.

    The lines of `measured` and `published` are those of Measured and Published.
    """
    counts = summary(verdicts(plan, measured, published))
    stated = counts.loc["stated"]
    outcomes = ", ".join(f"{n} {VERDICTS[str(verdict)]}" for verdict, n in stated.items() if n)
    others = [f"{counts.loc[name].sum()} on {STANDINGS[name]}" for name in counts.index[1:]]
    apart = f" Counted apart: {', '.join(others)}." if others else ""
    by_dataset = {
        block.dataset: block
        for block in blocks(plan, measured, published, TABLE)
        if block.protocol == PROTOCOL
    }
    shown = [by_dataset[dataset] for dataset in DATASETS]
    table: dict[str, list[str]] = {"method": shown[0].rows["row"].to_list()}
    for block in shown:
        for metric in METRICS:
            lines = block.lines[block.lines["metric"] == metric]
            column = f"{DATASETS[block.dataset]} {heading(metric)}"
            table[column] = [_entry(line) for line in lines.to_dict("records")]
    lengths = " and ".join(
        f"{captions.training_length(plan, plan.cells_of(TABLE, dataset))} of {title}"
        for dataset, title in DATASETS.items()
    )
    seeds = {count for block in shown for count in block.rows["seeds"] if count}
    seed_count = "one seed" if seeds == {1} else f"{span(seeds or {0})} seeds"
    intervals = any((block.lines["half"] != "").any() for block in shown)
    images = sorted({count for block in shown for count in block.images.get("rFID", ())})
    # Only the sources of published numbers that the table shows are named.
    sources = published[
        (published["table"] == TABLE)
        & published["dataset"].isin(DATASETS)
        & published["metric"].isin(COMPARED)
    ]
    return "\n\n".join(
        [
            f"Of {stated.sum()} verdicts on {STANDINGS['stated']}, one per dataset and metric: "
            f"{outcomes} ([each of them](results/{BUDGET}/verdicts.md)).{apart}",
            f"Measured at budget *{BUDGET}* by the protocol `{PROTOCOL}`, {seed_count}: {lengths}; "
            f"rFID over {' or '.join(f'{count:,}' for count in images) or 'no'} images. The "
            "published runs took 500 epochs over all images at batch 1,024. Each entry is "
            f"ours{' (mean ± half of its 95 % interval)' if intervals else ''} / published. "
            f"Published: {'; '.join(sources['evidence'].unique())} "
            "([all evidence](results/published/README.md)).",
            pd.DataFrame(table).to_markdown(index=False, disable_numparse=True),
            f"![Usage and perplexity during training](figures/{BUDGET}/training_curves.png)",
        ]
    )


def _entry(line: Mapping[Hashable, Any]) -> str:
    """Return our number in a line of a block, with the published one if COMPARED has the metric."""
    ours = f"{line['text']} ± {line['half']}" if line["half"] else line["text"] or ABSENT
    return f"{ours} / {line['published'] or ABSENT}" if line["metric"] in COMPARED else ours


def main(check: bool) -> None:
    """Write README.md. With `check`, raise BenchmarkError instead if README.md is out of date."""
    file = ROOT / "README.md"
    old = file.read_text(encoding="utf-8")
    if START not in old or END not in old:
        raise BenchmarkError(f"{file.name}: needs the marks {START} and {END}")
    results = read_results(BUDGET)
    measured = gather(results.plan, results.states)["measured"]
    inner = excerpt(results.plan, measured, read_published(PUBLISHED, results.plan))
    text = f"{old.partition(START)[0]}{START}\n{inner}\n{END}{old.partition(END)[2]}"
    if not check:
        write_text(file, text)
    elif old != text:
        raise BenchmarkError("README.md differs; run python -m workflows.render.readme")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="readme", description=__doc__)
    parser.add_argument("--check", action="store_true")
    cli.run(parser, main)
