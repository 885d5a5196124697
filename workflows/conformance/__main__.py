"""Hold a quantiser against CVQ-VAE: `python -m workflows.conformance my_module:build`.

`build(codebook_size, code_dim)` returns a module of ours, or one with the official signature or
that of vector-quantize-pytorch. Where `build` also has arguments called `anchors` ("closest",
"probability" or "random"), `offline` or `contrastive` (True or False), their values are asked.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflows.config import cli
from workflows.conformance.properties import PROPERTIES, ask
from workflows.conformance.subject import D, K, Subject
from workflows.errors import ConfigError

VERDICTS = {True: "agrees", False: "departs", None: "not applicable"}


def builder(name: str) -> Callable[..., Any]:
    """The function that `my_module:build` names. Raises ConfigError."""
    module, _, function = name.partition(":")
    # As `python -m` does, unless it is told to be safe.
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:
        raise ConfigError(f"{name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"{name}: no such function; allowed: my_module:build")
    return found


def main(build: str, anchors: str) -> int:
    """Print a line for each property; 1 if a required one does not hold. Raises ConfigError."""
    subject = Subject(builder(build), anchors)
    try:
        subject.make()
    except Exception as error:
        called = f"{build}: called as build(codebook_size={K}, code_dim={D}"
        raise ConfigError(f"{called}): {type(error).__name__}: {error}") from error
    faults = []
    for name, finding in ask(subject).items():
        required = PROPERTIES[name][1]
        verdict = VERDICTS[finding.holds] + ("" if required else ", not required")
        print(f"{name:31} {verdict:29} {finding.numbers}")
        if required and finding.holds is False:
            faults.append(name)
    print(f"Required, and departs: {', '.join(faults)}" if faults else "All that is required holds")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("build", metavar="my_module:build")
    parser.add_argument(
        "--anchors",
        choices=["closest", "probability", "random", "none"],
        default="closest",
        help="what `build` makes where it has no such argument; none: a plain VQ",
    )
    cli.run(parser, main)
