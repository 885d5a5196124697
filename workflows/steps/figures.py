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
    for name in ("plan", "collected", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser


def read(plan: Path, collected: Path) -> figures.Collected:
    """What figures are drawn from. collected: the folder of a table's collected numbers.

    Raises ConfigError and OSError, naming the file.
    """
    try:
        return figures.Collected(
            Plan.of(_literal(read_plan(plan))),
            read_csv(collected / "measured.csv", "measured").map(_literal),
            read_csv(collected / "curves.csv", "curves"),
            read_csv(collected / "codes.csv", "codes"),
            collected / "reconstructions",
        )
    except KeyError as error:
        raise ConfigError(f"{plan}: key {error} is missing") from None


def run(data: figures.Collected, name: str, out: Path) -> None:
    """Draw one figure into the folder `out`, as SVG and PNG."""
    figure = FIGURES[name](data)
    for suffix, metadata in (("svg", {"Date": None}), ("png", None)):
        write_atomically(
            out / f"{name}.{suffix}",
            partial(figure.savefig, format=suffix, dpi=DPI, metadata=metadata),
        )


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
        run(read(arguments.plan, arguments.collected), arguments.figure, arguments.out)
    except (ConfigError, OSError) as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
