"""How every command line runs: parse, run, and say in one line what a user can mend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import BaseModel

from workflows.config.plan import PlannedEvaluation, Spec
from workflows.config.reading import from_json, parse
from workflows.errors import BenchmarkError

Kind = TypeVar("Kind", bound=BaseModel)


def run(parser: argparse.ArgumentParser, command: Callable[..., int | None]) -> NoReturn:
    """Call `command` with the parsed arguments and exit with what it returns, or 0.

    An error that a user can mend becomes one line on standard error and exit status 1. Any other
    error is a defect and keeps its traceback.
    """
    try:
        sys.exit(command(**vars(parser.parse_args())))
    except (BenchmarkError, OSError, MemoryError) as error:
        said = str(error) or "not enough memory"
        sys.exit(f"{parser.prog.removesuffix('.py')}: {said}")


def typed(kind: type[Kind], option: str) -> Callable[[str], Kind]:
    """A type for argparse: JSON that is parsed into `kind`."""
    return lambda text: parse(from_json(text, option), kind, option)


# What the paths are that several steps take.
PATHS = {
    "--cell": "the cell's folder",
    "--data": "folder of the prepared dataset",
    "--weights": "folder of the metric networks",
    "--out": "what is written",
}


def step_parser(prog: str, description: str, *paths: str) -> argparse.ArgumentParser:
    """The options of a step that computes: --threads and these `paths`, which must be given."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    for path in paths:
        parser.add_argument(path, type=Path, required=True, help=PATHS[path])
    parser.add_argument("--threads", type=int, default=1)
    return parser


def measuring_parser(prog: str, description: str, *paths: str) -> argparse.ArgumentParser:
    """The options of a step that samples or measures a cell."""
    parser = step_parser(prog, description, "--cell", *paths)
    evaluation = typed(PlannedEvaluation, "--evaluation")
    parser.add_argument("--evaluation", type=evaluation, required=True, help="JSON")
    return parser


def training_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """The options that both training steps have."""
    parser = step_parser(prog, description, "--data", "--out")
    parser.add_argument("--spec", type=typed(Spec, "--spec"), required=True, help="JSON")
    parser.add_argument(
        "--processes", type=int, default=1, dest="processes_", help="that share each batch"
    )
    return parser
