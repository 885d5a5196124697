"""One figure, as SVG and PNG: `python -m workflows.steps.figures --help`."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from workflows.files import write_atomically
from workflows.render import figures
from workflows.render.plan import Plan
from workflows.render.style import DPI
from workflows.schema import ConfigError, read_csv

FIGURES = {
    "dimensionality": figures.dimensionality,
    "codebook_size": figures.codebook_size,
    "training_curves": figures.training_curves,
    "reconstructions": figures.reconstructions,
    "code_histograms": figures.code_histograms,
}


def main() -> int:
    """Draw the figure; 1 with one line on stderr if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("plan", "measured", "curves", "codes", "reconstructions", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--figure", choices=FIGURES, required=True)
    arguments = parser.parse_args()
    try:
        data = figures.Collected(
            Plan.of(json.loads(arguments.plan.read_text(encoding="utf-8"))),
            read_csv(arguments.measured, "measured"),
            read_csv(arguments.curves, "curves"),
            read_csv(arguments.codes, "codes"),
            arguments.reconstructions,
        )
    except (ConfigError, OSError, json.JSONDecodeError) as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"figures: {arguments.plan}: key {error} is missing", file=sys.stderr)
        return 1
    figure = FIGURES[arguments.figure](data)
    for suffix, metadata in (("svg", {"Date": None}), ("png", None)):
        write_atomically(
            arguments.out / f"{arguments.figure}.{suffix}",
            partial(figure.savefig, format=suffix, dpi=DPI, metadata=metadata),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
