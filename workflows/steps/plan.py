"""Write the plan of a budget: `python -m workflows.steps.plan --help`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from workflows.config import cli
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.planning import make_plan
from workflows.files import write_json


def main(budget: str, missing: dict[str, str], out: Path) -> None:
    """Write plan.json. missing: dataset that this machine cannot have -> what to do."""
    datasets = read_datasets()
    plan = make_plan(load_grid(budget, datasets), datasets, missing)
    write_json(out, plan.model_dump(mode="json"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="plan", description=__doc__)
    parser.add_argument("--budget", required=True)
    parser.add_argument("--missing", type=json.loads, default={}, help="JSON: dataset -> advice")
    parser.add_argument("--out", type=Path, required=True, help="plan.json")
    cli.run(parser, main)
