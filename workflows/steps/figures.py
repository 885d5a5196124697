"""One figure, as SVG and PNG: `python -m workflows.steps.figures --help`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from workflows.files import write_atomically
from workflows.reading import read_csv, read_plan
from workflows.render import figures
from workflows.render.plan import Plan
from workflows.render.style import DPI
from workflows.schema import ConfigError

FIGURES = {
    "dimensionality": figures.dimensionality,
    "codebook_size": figures.codebook_size,
    "training_curves": figures.training_curves,
    "reconstructions": figures.reconstructions,
    "code_histograms": figures.code_histograms,
    "codevectors": figures.codevectors,
}
for _table in ("lsun", "ffhq_imagenet"):
    for _draw in (figures.samples, figures.progress, figures.neighbours):
        FIGURES[f"{_draw.__name__}_{_table}"] = partial(_draw, table=f"generation_{_table}")


def options(description: str | None) -> argparse.ArgumentParser:
    """The files of a table's collected measurements, and where to draw."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("plan", "measured", "curves", "codes", "reconstructions", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser


def collected(arguments: argparse.Namespace) -> figures.Collected:
    """What the options name. Raises ConfigError and OSError, naming the file."""
    try:
        return figures.Collected(
            Plan.of(_literal(read_plan(arguments.plan))),
            read_csv(arguments.measured, "measured").map(_literal),
            read_csv(arguments.curves, "curves"),
            read_csv(arguments.codes, "codes"),
            arguments.reconstructions,
        )
    except KeyError as error:
        raise ConfigError(f"{arguments.plan}: key {error} is missing") from None


def _literal(content: Any) -> Any:
    """Texts, also within mappings and lists, so that Matplotlib shows a dollar, reads no formula.

    A name such as `$a_$` would end the drawing with an error. Formulas are those of axes alone.
    """
    if isinstance(content, str):
        return content.replace("$", r"\$")
    if isinstance(content, dict):
        return {key: _literal(value) for key, value in content.items()}
    return [_literal(part) for part in content] if isinstance(content, list) else content


def main() -> int:
    """Draw the figure; 1 with one line on stderr if something is wrong."""
    parser = options(__doc__)
    parser.add_argument("--figure", choices=FIGURES, required=True)
    arguments = parser.parse_args()
    try:
        figure = FIGURES[arguments.figure](collected(arguments))
    except (ConfigError, OSError) as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    for suffix, metadata in (("svg", {"Date": None}), ("png", None)):
        write_atomically(
            arguments.out / f"{arguments.figure}.{suffix}",
            partial(figure.savefig, format=suffix, dpi=DPI, metadata=metadata),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
