"""What all command lines share: options, and errors that users read."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from workflows.config.plan import PlannedEvaluation, Spec
from workflows.config.reading import Kind, parse_json
from workflows.errors import BenchmarkError


def run(parser: argparse.ArgumentParser, command: Callable[..., int | None]) -> NoReturn:
    """Call `command` with the parsed arguments and exit with its return value, or 0.

    An error that a user can mend becomes one line on standard error and exit status 1. Any other
    error is a defect and keeps its traceback.
    """
    try:
        sys.exit(command(**vars(parser.parse_args())))
    except BrokenPipeError:
        # A reader such as `head` has closed the pipe; Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (BenchmarkError, OSError, MemoryError) as error:
        message = str(error) or "not enough memory"
        sys.exit(f"{parser.prog.removesuffix('.py')}: {message}")


def typed(kind: type[Kind], option: str) -> Callable[[str], Kind]:
    """Return a type for argparse that parses JSON into `kind`."""
    return lambda text: parse_json(text, kind, option)


def step_parser(prog: str, description: str, *paths: str) -> argparse.ArgumentParser:
    """Return the parser of a step that computes. paths: options that each step must get."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    for path in paths:
        parser.add_argument(path, type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def measuring_parser(prog: str, description: str, *paths: str) -> argparse.ArgumentParser:
    """Return the parser of a step that samples or measures a cell."""
    parser = step_parser(prog, description, "--cell", *paths)
    evaluation = typed(PlannedEvaluation, "--evaluation")
    parser.add_argument("--evaluation", type=evaluation, required=True, help="JSON")
    return parser


def training_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a step that trains."""
    parser = step_parser(prog, description, "--data", "--out")
    parser.add_argument("--spec", type=typed(Spec, "--spec"), required=True, help="JSON")
    parser.add_argument(
        "--processes", type=int, default=1, dest="processes_", help="that share each batch"
    )
    return parser
